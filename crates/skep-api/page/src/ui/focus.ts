// Keeps the keyboard where it was when what it was on goes away.

/** Runs `act`, which may take the focused element away; the focus is then on what `next` finds. */
export async function keepFocus(act: () => Promise<unknown>, next: () => HTMLElement | null | undefined): Promise<void> {
  await act();
  // What has changed is drawn with the next picture.
  requestAnimationFrame(() => {
    if (document.activeElement === document.body || document.activeElement === null) next()?.focus();
  });
}
