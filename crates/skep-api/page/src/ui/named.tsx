// Sentences of the node that name settings, as a person reads them.

import type { Field } from "../lib/limits";

/** Names of settings in a text, such as `share.cpu_percent`. */
const NAMES = /\b([a-z]+\.[a-z_]*[a-z])\b/gi;

/** A word that is a setting's value stands as its control shows it. */
const plain = (text: string): string => text.replaceAll("if_unsure", "“If that is unsure”");

const titleOf = (name: string, fields: Field[]): string | null => {
  const title = fields.find((field) => field.key === name.toLowerCase())?.title;
  return title === undefined ? null : `“${title}”`;
};

/** A text with titles in place of names. */
export const withTitles = (text: string, fields: Field[]): string => plain(text).replaceAll(NAMES, (name) => titleOf(name, fields) ?? name);

/** A text in which the names lead to their controls. */
export function WithSettings({ text, fields }: { text: string; fields: Field[] }) {
  return (
    <>
      {text.split(NAMES).map((piece, index) => {
        const title = index % 2 === 1 ? titleOf(piece, fields) : null;
        return title === null ? plain(piece) : <a href={`#/settings/${piece.toLowerCase()}`}>{title}</a>;
      })}
    </>
  );
}
