// What the machine holds of a model, and what Skep can tell of the machine.

import type { Field } from "../lib/limits";
import { memoryText, sentence, type MachineView, type Sensor } from "../lib/machine";
import { network } from "../store/network";
import { useStore } from "../store/store";
import { WithSettings } from "../ui/named";

/** What part of the model the blocks are, where the network knows the model. */
function partText([start, end]: [number, number], model: string | null): string {
  const { view } = network.value;
  const blocks = start + 1 === end ? `block ${start}` : `blocks ${start} to ${end - 1}`;
  const all = view && view.model.name === model ? view.model.blocks : null;
  if (all === end - start) return `It holds all ${all} blocks of ${model}, so it can answer by itself.`;
  return `It holds ${blocks} of ${model ?? "a model"}${all === null ? "" : `, which has ${all}`}, and computes these for every answer that passes through.`;
}

export function Holds({ view }: { view: MachineView }) {
  useStore(network);
  const { blocks, model, use } = view;
  return (
    <section class="card" aria-labelledby="holds-title" data-testid="holds">
      <h2 id="holds-title">What it holds</h2>
      <p>{blocks ? partText(blocks, model) : "It holds no part of a model now."}</p>
      <dl class="facts">
        <div class="fact">
          <dt>of the model, in memory now</dt>
          <dd>{memoryText(use.weights_bytes)}</dd>
        </div>
        <div class="fact">
          <dt>kept on the disk</dt>
          <dd>{memoryText(use.disk_bytes)}</dd>
        </div>
      </dl>
    </section>
  );
}

function Sense({ sensor, fields }: { sensor: Sensor; fields: Field[] }) {
  const { text, value, gap } = sensor;
  return (
    <div class="sense" data-testid="sensor" data-name={sensor.name} data-gap={gap ? "yes" : "no"}>
      <dt>{sentence(text).replace(/\.$/, "")}</dt>
      {gap ? (
        <dd class="gap">
          <b>Cannot read.</b> {sentence(gap.why)}{" "}
          <span class="advice">
            <WithSettings text={sentence(gap.advice)} fields={fields} />
          </span>
        </dd>
      ) : (
        <dd>{value ?? <span class="unread">not read yet</span>}</dd>
      )}
    </div>
  );
}

export function Senses({ sensors, fields }: { sensors: Sensor[]; fields: Field[] }) {
  const gaps = sensors.filter((sensor) => sensor.gap).length;
  return (
    <section class="card" aria-labelledby="senses-title">
      <h2 id="senses-title">What it notices</h2>
      <p class="lead">
        By this Skep decides when to step aside. It looks at when keys were last pressed, never at which.
        {gaps > 0 && ` ${gaps === 1 ? "One thing" : `${gaps} things`} it cannot read here; your settings say what then holds.`}
      </p>
      <dl class="senses">
        {sensors.map((sensor) => (
          <Sense key={sensor.name} sensor={sensor} fields={fields} />
        ))}
      </dl>
    </section>
  );
}
