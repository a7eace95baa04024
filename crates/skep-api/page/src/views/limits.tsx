// The owner's settings: presets first, then every single one. All of it is drawn from the schema that the node gives.

import { useEffect } from "preact/hooks";
import { groupsOf, type Row } from "../lib/limits";
import { limits, loadLimits } from "../store/limits";
import { lookClosely } from "../store/machine";
import { useStore } from "../store/store";
import { CopyButton } from "../ui/copy";
import { Control } from "./control";
import { TroubleView } from "./message";
import { Presets } from "./presets";

/** Words of values that the description names stand as the control shows them. */
const helpText = (help: string): string => help.replaceAll("if_unsure", "“If that is unsure”");

function Setting({ row }: { row: Row }) {
  const { field, inUse } = row;
  const about = `${field.key}-help`;
  return (
    <div class="limit" id={field.key} tabIndex={-1} data-testid="limit">
      <h3>{field.title}</h3>
      <p class="limit-help" id={about}>
        {helpText(field.help)}
        {field.kind.is === "text" && (
          <>
            {" "}
            Write <code>always</code>, or days and hours such as <code>mon-fri 18:00-08:00, sat-sun 00:00-24:00</code>.
          </>
        )}
      </p>
      <div class={inUse ? "limit-pair" : undefined}>
        <Control field={field} about={about} label={inUse ? "Not in use" : undefined} />
        {inUse && <Control field={inUse} about={about} label="In use" />}
      </div>
    </div>
  );
}

/** Brings the setting that the address names into sight. */
function useTarget(key: string | null, ready: boolean) {
  useEffect(() => {
    const target = key && ready ? document.getElementById(key) : null;
    target?.scrollIntoView({ block: "center" });
    target?.focus();
  }, [key, ready]);
}

export function LimitsPage({ target }: { target: string | null }) {
  const { view, fields, trouble } = useStore(limits);
  useEffect(lookClosely, []);
  useEffect(() => void loadLimits(), []);
  useTarget(target, view !== null);
  return (
    <main class="page" data-testid="limits">
      {trouble && <TroubleView trouble={trouble} />}
      {!view && !trouble && <p class="note">Reading the settings…</p>}
      {view && (
        <>
          <section class="card" aria-labelledby="limits-title">
            <div class="card-head">
              <h1 id="limits-title">How this machine is lent</h1>
              <a href="#/start" data-testid="start-again">
                The first steps again
              </a>
            </div>
            <p class="lead">
              Changes hold at once and stay after a restart. Your own questions to this machine are never held back by these limits.
            </p>
            <Presets />
          </section>
          {groupsOf(fields).map(({ name, rows }) => (
            <section key={name} class="card" aria-labelledby={`group-${name}`}>
              <h2 id={`group-${name}`}>{name}</h2>
              {rows.map((row) => (
                <Setting key={row.field.key} row={row} />
              ))}
            </section>
          ))}
          <p class="note file-line">
            The same settings as a file: <code>{view.file}</code>
            <CopyButton text={view.file} what="the file's path" />
          </p>
        </>
      )}
    </main>
  );
}
