// The machine and the settings of the made-up node. Values are taken and refused as the schema says.

import { readFileSync } from "node:fs";

const SCHEMA = JSON.parse(readFileSync(new URL("settings.schema.json", import.meta.url), "utf8"));
const PROPERTIES = Object.values(SCHEMA.properties).flatMap((table) => Object.values(table.properties));
const HOUR = 3_600_000;
const GIB = 2 ** 30;

const REASONS = {
  owner: { code: "owner", text: "you paused it", remedy: "`skep resume` lends this machine again.", setting: null },
  finished: { code: "finished", text: "you asked it to finish, and all work is done", remedy: "`skep resume` lends this machine again.", setting: null },
  in_use: {
    code: "in_use",
    text: "somebody uses this machine",
    remedy: "It is lent again after 15 minutes without input, or with share.when_in_use set to always.",
    setting: "share.when_in_use",
  },
};

const SENSORS = [
  { name: "power", text: "where power comes from", value: "plugged in, 80 %", gap: null },
  { name: "input", text: "when somebody last used this machine", value: "3 minutes ago", gap: null },
  {
    name: "screen",
    text: "whether a program fills the screen",
    value: null,
    gap: { why: "no interface of this desktop tells it", advice: "set share.when_full_screen to always if that never matters here" },
  },
  { name: "network", text: "whether the network is metered", value: "not metered", gap: null },
  { name: "processors", text: "what other programs use of the processors", value: "4 %", gap: null },
  { name: "temperature", text: "the temperature of the processor", value: "52 °C", gap: null },
  { name: "watts", text: "the power of the processor", value: null, gap: { why: "only root may read it", advice: "run Skep as a service, or go without a limit in watts" } },
  { name: "disk", text: "how much of the disk is free", value: null, gap: null },
];

/** A day as a person with a computer has one. */
function timeline(now) {
  const at = (hours, state, reason = null) => ({ from_ms: now - hours * HOUR, state, reason });
  const used = "somebody uses this machine";
  return [
    at(22.5, "lending"), at(15.2, "paused", used), at(13.9, "lending"), at(12.4, "paused", used), at(9.1, "lending"),
    at(8.3, "paused", "a program fills the screen"), at(6.4, "lending"), at(4.2, "finishing", null), at(4.1, "paused", "you paused it"), at(2.1, "lending"),
  ];
}

export function mockMachine() {
  const now = Date.now();
  const machine = {
    state: "lending",
    reason: null,
    until_ms: null,
    since_ms: now - 2.1 * HOUR,
    in_use: false,
    caps: { cpu_percent: 75, memory_bytes: 8 * GIB, disk_bytes: 50 * GIB, gpu: true, upload: 2e6, download: 5e6, transfer_left: 46 * GIB },
    use: { cpu_percent: 12.5, memory_bytes: 1.3 * GIB, weights_bytes: 0.9 * GIB, disk_bytes: 4.2e9, upload: 310_000, download: 92_000, transferred_today_bytes: 4 * GIB, work: 2 },
    machine: { memory_bytes: 16 * GIB, processors: 8 },
    blocks: [0, 3],
    model: "skep-tiny",
    sensors: SENSORS,
    timeline: timeline(now),
  };
  const set = {};
  const own = { machine, set, paused: null, turn };

  /** Goes to a state as a steward would. */
  function turn(state, reason = null, until = null) {
    const caps = machine.caps ?? own.caps;
    own.caps = caps;
    Object.assign(machine, { state, reason, until_ms: until, since_ms: Date.now(), caps: state === "paused" ? null : caps });
    machine.timeline.push({ from_ms: Date.now(), state, reason: reason?.text ?? null });
  }

  own.command = ({ command, seconds }) => {
    if (command === "pause") turn("paused", REASONS.owner, seconds === undefined ? null : Date.now() + seconds * 1000);
    else if (command === "resume") turn("lending");
    else if (command === "finish") turn("finishing", null);
    else return { message: `there is no command ${command}` };
    return null;
  };
  own.inUse = () => turn("paused", REASONS.in_use);

  const preset = () => set["share.preset"] ?? "balanced";
  own.settings = () => ({
    schema: SCHEMA,
    values: Object.fromEntries(
      PROPERTIES.map((property) => {
        const key = property["x-key"];
        const raw = set[key] ?? (key === "share.preset" ? preset() : property["x-presets"][preset()]);
        return [key, { value: `${raw}`, raw, origin: key in set ? "page" : "preset" }];
      }),
    ),
    file: "~/.skep/settings.toml",
  });
  own.put = ({ key, value }) => {
    const property = PROPERTIES.find((candidate) => candidate["x-key"] === key);
    if (!property) return { message: `there is no setting ${key}; the nearest is share.preset` };
    if (value === null) delete set[key];
    else if (takes(property, value)) set[key] = value;
    else return { message: `${key} cannot be ${value}: it takes ${wanted(property)}` };
    return null;
  };
  return own;
}

function takes(property, value) {
  if (property.enum) return property.enum.includes(value);
  if (property.type === "boolean") return typeof value === "boolean";
  if (property.type === "string") return value === "always" || /^([a-z]{3}(-[a-z]{3})? \d+:\d\d-\d+:\d\d(, )?)+$/.test(value);
  return property.anyOf.some((way) =>
    way.const !== undefined ? way.const === value
    : way.pattern ? typeof value === "string" && new RegExp(way.pattern).test(value)
    : Number.isInteger(value) && value >= way.minimum && value <= way.maximum,
  );
}

function wanted(property) {
  if (property.enum) return property.enum.join(", ");
  if (!property.anyOf) return "always, or days and hours such as mon-fri 18:00-08:00";
  return `${property.anyOf[0].minimum} to ${property.anyOf[0].maximum} ${property["x-unit"]}${property.anyOf.some((way) => way.const) ? ", or none" : ""}`;
}
