// The few drawings of the page, as elements, so that they take the colour of the text around them.

import type { ComponentChildren } from "preact";

function Icon({ children, size = 18 }: { children: ComponentChildren; size?: number }) {
  return (
    <svg
      class="icon"
      width={size}
      height={size}
      viewBox="0 0 24 24"
      fill="none"
      stroke="currentColor"
      stroke-width="1.8"
      stroke-linecap="round"
      stroke-linejoin="round"
      aria-hidden="true"
      focusable="false"
    >
      {children}
    </svg>
  );
}

export const SendIcon = () => (
  <Icon size={20}>
    <path d="M12 19V5M5.5 11.5 12 5l6.5 6.5" />
  </Icon>
);
export const StopIcon = () => (
  <Icon size={20}>
    <rect x="7" y="7" width="10" height="10" rx="2" fill="currentColor" />
  </Icon>
);
export const CopyIcon = () => (
  <Icon size={16}>
    <rect x="9" y="9" width="11" height="11" rx="2.5" />
    <path d="M5 15V6.5A2.5 2.5 0 0 1 7.5 4H15" />
  </Icon>
);
export const CheckIcon = () => (
  <Icon size={16}>
    <path d="m5 12.5 4.5 4.5L19 7.5" />
  </Icon>
);
export const PlusIcon = () => (
  <Icon size={16}>
    <path d="M12 5v14M5 12h14" />
  </Icon>
);
export const SlidersIcon = () => (
  <Icon>
    <path d="M4 7h9M17 7h3M4 17h3M11 17h9" />
    <circle cx="15" cy="7" r="2" />
    <circle cx="9" cy="17" r="2" />
  </Icon>
);
export const CloseIcon = () => (
  <Icon>
    <path d="M6 6l12 12M18 6 6 18" />
  </Icon>
);
export const TrashIcon = () => (
  <Icon size={15}>
    <path d="M5 7h14M10 7V4.5h4V7M7 7l.8 12h8.4L17 7" />
  </Icon>
);
export const PencilIcon = () => (
  <Icon size={15}>
    <path d="M4.5 19.5 5.5 15 15.8 4.7a1.8 1.8 0 0 1 2.5 0l1 1a1.8 1.8 0 0 1 0 2.5L9 18.5z" />
  </Icon>
);
export const EarlierIcon = () => (
  <Icon size={15}>
    <path d="M14.5 6 8.5 12l6 6" />
  </Icon>
);
export const LaterIcon = () => (
  <Icon size={15}>
    <path d="m9.5 6 6 6-6 6" />
  </Icon>
);
export const MoreIcon = () => (
  <Icon>
    <circle cx="5.5" cy="12" r="0.8" fill="currentColor" />
    <circle cx="12" cy="12" r="0.8" fill="currentColor" />
    <circle cx="18.5" cy="12" r="0.8" fill="currentColor" />
  </Icon>
);
export const HistoryIcon = () => (
  <Icon>
    <path d="M4 6h16M4 12h16M4 18h10" />
  </Icon>
);
export const AgainIcon = () => (
  <Icon size={16}>
    <path d="M19 12a7 7 0 1 1-2.3-5.2M19 4v4h-4" />
  </Icon>
);
export const PlugIcon = () => (
  <Icon size={16}>
    <path d="M9 3v5M15 3v5M6.5 8h11v3a5.5 5.5 0 0 1-11 0zM12 16.5V21" />
  </Icon>
);
export const BoltIcon = () => (
  <Icon size={15}>
    <path d="M13 3 5.5 13.5H11L10 21l8-11h-5.5z" />
  </Icon>
);

export const ChatIcon = () => (
  <Icon>
    <path d="M5 5.5h14a1.5 1.5 0 0 1 1.5 1.5v8a1.5 1.5 0 0 1-1.5 1.5h-7L7.5 20v-3.5H5A1.5 1.5 0 0 1 3.5 15V7A1.5 1.5 0 0 1 5 5.5z" />
  </Icon>
);
export const HiveIcon = () => (
  <Icon>
    <path d="m12 3.5 4 2.3v4.6l-4 2.3-4-2.3V5.8zM8 10.4l-4 2.3v4.6l4 2.3 4-2.3v-4.6M16 10.4l4 2.3v4.6l-4 2.3-4-2.3" />
  </Icon>
);
export const ActivityIcon = () => (
  <Icon>
    <path d="M3.5 12.5h4L10 5l4.5 14 2.5-6.5h3.5" />
  </Icon>
);
export const MachineIcon = () => (
  <Icon>
    <rect x="3.5" y="4.5" width="17" height="11.5" rx="1.8" />
    <path d="M9 20h6M12 16v4" />
  </Icon>
);
export const ModelsIcon = () => (
  <Icon>
    <path d="m12 3.5 8.5 4.2L12 12 3.5 7.7z" />
    <path d="m3.5 12 8.5 4.3 8.5-4.3M3.5 16.3l8.5 4.2 8.5-4.2" />
  </Icon>
);
export const CodeIcon = () => (
  <Icon>
    <path d="m8 7-5 5 5 5M16 7l5 5-5 5" />
  </Icon>
);

/** The mark: a skep, the straw hive that the project is named after. */
export function Mark({ size = 30 }: { size?: number }) {
  return (
    <svg width={size} height={size} viewBox="0 0 32 32" class="mark" aria-hidden="true" focusable="false">
      <path class="mark-straw" d="M4 27c0-14 4-23 12-23s12 9 12 23z" />
      <path
        class="mark-coil"
        d="M6.3 15.5q9.7 3.6 19.4 0M4.6 21.5q5 2 7.6 2.3M27.4 21.5q-5 2-7.6 2.3M9.3 9.5q6.7 2.6 13.4 0"
      />
      <path class="mark-door" d="M12.5 27v-2.5a3.5 3.5 0 0 1 7 0V27z" />
    </svg>
  );
}
