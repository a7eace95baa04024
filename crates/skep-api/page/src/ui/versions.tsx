// Arrows between the versions of one turn: “2 / 3”.

import { EarlierIcon, LaterIcon } from "./icons";

interface Props {
  /** The places of the versions, and the one that is open. */
  versions: number[];
  at: number;
  /** What there are versions of, as a screen reader says it. */
  what: string;
  /** Opens another one; `null` while that is not possible. */
  onChoose: ((at: number) => void) | null;
}

export function Versions({ versions, at, what, onChoose }: Props) {
  if (versions.length < 2) return null;
  const index = versions.indexOf(at);
  // A button that does nothing stays in reach, so that the keyboard does not lose its place at either end.
  const arrow = (by: -1 | 1, label: string) => {
    const other = versions[index + by];
    const able = onChoose !== null && other !== undefined;
    return (
      <button type="button" class="quiet" aria-label={`${label} version of ${what}`} title={`${label} version`} aria-disabled={!able} onClick={() => able && onChoose(other)} data-testid={by < 0 ? "earlier" : "later"}>
        {by < 0 ? <EarlierIcon /> : <LaterIcon />}
      </button>
    );
  };
  return (
    <span class="versions" role="group" aria-label={`Versions of ${what}`} data-testid="versions">
      {arrow(-1, "Earlier")}
      <span class="versions-count">
        <span class="hidden">{`Version ${index + 1} of ${versions.length}`}</span>
        <span aria-hidden="true">{`${index + 1} / ${versions.length}`}</span>
      </span>
      {arrow(1, "Later")}
    </span>
  );
}
