// Why an answer took its route, and what else there was.

import { blocksText, msText, plural, shortId } from "../lib/route";
import type { Alternative, ExpectedRoute, Why } from "../lib/types";
import { Scroll } from "../ui/scroll";

const routeText = (route: ExpectedRoute): string =>
  route.stages.map((stage) => `${shortId(stage.node)} ${blocksText(stage.blocks)}`).join(" → ");

function Other({ other }: { other: Alternative }) {
  return (
    <tr data-testid="alternative" data-without={other.without ?? undefined}>
      <td>{other.without ? <>without <code title={other.without}>{shortId(other.without)}</code></> : other.what}</td>
      <td class="num">{other.route ? msText(other.route.per_token_ms) : "–"}</td>
      <td class="num">{other.route ? msText(other.route.total_ms) : "–"}</td>
      <td>{other.route ? routeText(other.route) : other.refused}</td>
    </tr>
  );
}

/** `measured` is the mean lap of the answer, if there was more than one. */
export function WhyView({ why, measured }: { why: Why; measured: number | null }) {
  const { expected, planned_for: planned } = why;
  return (
    <div class="why" data-testid="why">
      <h3>Why this route</h3>
      <p data-testid="why-reason">{why.reason}</p>
      <p class="note">
        Expected {msText(expected.per_token_ms)} a token{measured !== null && <>, measured {msText(measured)}</>}; planned for {plural(planned[0], "token")} to
        read and {planned[1]} to write.
      </p>
      {why.instead.length > 0 && (
        <details>
          <summary>What else there was</summary>
          <Scroll label="Other routes">
            <table class="hops">
              <thead>
                <tr>
                  <th scope="col">Instead</th>
                  <th scope="col" class="num">A token</th>
                  <th scope="col" class="num">In all</th>
                  <th scope="col">Route</th>
                </tr>
              </thead>
              <tbody>
                {why.instead.map((other) => (
                  <Other other={other} />
                ))}
              </tbody>
            </table>
          </Scroll>
        </details>
      )}
    </div>
  );
}
