// Draws answers: Markdown as elements, or a text exactly as it is. Both lay out only the end of a growing text anew.

import { useMemo, useRef } from "preact/hooks";
import { cutPlain } from "../lib/cut";
import { Grower } from "../lib/grow";
import { readBlocks, readInline, type Block, type Inline } from "../lib/markdown";
import { CopyButton } from "./copy";
import { Scroll } from "./scroll";

function InlineView({ pieces }: { pieces: Inline[] }) {
  return (
    <>
      {pieces.map((piece) => {
        switch (piece.kind) {
          case "text":
            return piece.text;
          case "code":
            return <code>{piece.text}</code>;
          case "link":
            return (
              <a href={piece.href} target="_blank" rel="noopener noreferrer nofollow">
                <InlineView pieces={piece.children} />
              </a>
            );
          default: {
            const Tag = piece.kind;
            return (
              <Tag>
                <InlineView pieces={piece.children} />
              </Tag>
            );
          }
        }
      })}
    </>
  );
}

/** A line of text with its marks, such as names of options in `code`. */
export const inline = (text: string) => <InlineView pieces={readInline(text)} />;

function CodeView({ language, text }: { language: string; text: string }) {
  return (
    <figure class="code">
      <figcaption>
        <span>{language || "code"}</span>
        <CopyButton text={text} what="this code" />
      </figcaption>
      <pre tabIndex={0}>
        <code>
          <Plain text={text} />
        </code>
      </pre>
    </figure>
  );
}

function BlockView({ block }: { block: Block }) {
  switch (block.kind) {
    case "paragraph":
      return <p>{inline(block.text)}</p>;
    case "heading": {
      // The page's own headings come before those of an answer.
      const Tag = `h${Math.min(6, block.level + 2)}` as "h3";
      return <Tag>{inline(block.text)}</Tag>;
    }
    case "rule":
      return <hr />;
    case "quote":
      return <blockquote>{inline(block.text)}</blockquote>;
    case "code":
      return <CodeView language={block.language} text={block.text} />;
    case "list": {
      const items = block.items.map((item) => <li>{inline(item)}</li>);
      return block.ordered ? <ol start={block.start}>{items}</ol> : <ul>{items}</ul>;
    }
    case "table":
      return (
        <Scroll label="Table">
          <table>
            <thead>
              <tr>
                {block.head.map((cell) => (
                  <th scope="col">{inline(cell)}</th>
                ))}
              </tr>
            </thead>
            <tbody>
              {block.rows.map((row) => (
                <tr>
                  {row.map((cell) => (
                    <td>{inline(cell)}</td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </Scroll>
      );
  }
}

/** Characters of a piece of plain text that is drawn once and then left alone. */
const PIECE = 4000;
/** The same of Markdown, which takes longer to draw: a part that is still open is drawn for every picture. */
const PART = 2000;

/** One settled part, or the open end, of an answer. The same text gives the same element, which is then left alone. */
function Part({ text, goesOn }: { text: string; goesOn: boolean }) {
  return useMemo(() => {
    const blocks = readBlocks(text);
    return (
      <div class={goesOn ? "part goes-on" : "part"}>
        {blocks.map((block) => (
          <BlockView block={block} />
        ))}
      </div>
    );
  }, [text, goesOn]);
}

/** An answer in Markdown. */
export function Rich({ text }: { text: string }) {
  const known = useRef({ grower: new Grower(PART), text: "" });
  // Texts grow at their end; anything else begins anew.
  const grows = text.length >= known.current.text.length && text.startsWith(known.current.text.slice(0, 64));
  if (!grows) known.current.grower = new Grower(PART);
  known.current.text = text;
  const { grower } = known.current;
  const open = grower.take(text);
  return (
    <div class="rich">
      {grower.parts.map((part, index) => (
        <Part key={index} text={part.text} goesOn={part.goesOn} />
      ))}
      {open.text.trim() !== "" && <Part key="open" text={open.text} goesOn={grower.goesOn} />}
      {open.code && (
        <div key="code" class="part">
          <CodeView language={open.code.language} text={open.code.text} />
        </div>
      )}
    </div>
  );
}

/**
 * A text exactly as it is, in pieces of which only the last one changes. A piece between two ends of lines is laid out
 * by itself, which looks the same and spares laying out the whole text for each new word.
 */
export function Plain({ text }: { text: string }) {
  const pieces = cutPlain(text, PIECE);
  return (
    <>
      {pieces.map((piece, index) => {
        const alone = index > 0 && index < pieces.length - 1 && piece.endsWith("\n") && pieces[index - 1]?.endsWith("\n");
        return (
          <span key={index} class={alone ? "alone" : undefined}>
            {piece}
          </span>
        );
      })}
    </>
  );
}
