// Fields written twice in one mapping, which parsers silently reduce to the last one.
import { isAlias, isMap, isScalar, isSeq, type Document } from 'yaml';
import { childPath } from './objects.ts';

/**
 * Paths such as `spec.image` of fields that appear twice in JSON text, each once. `text` must be valid JSON: it is
 * scanned, not parsed again, since every write comes through here.
 */
export function findDuplicateFields(text: string): string[] {
  const found = new Set<string>();
  interface Frame {
    readonly keys: Set<string> | undefined;
    readonly path: string;
    index: number;
    key: string;
    expectsKey: boolean;
  }
  const frames: Frame[] = [];
  const presentPath = (): string => {
    const top = frames.at(-1);
    if (!top) return '';
    if (!top.keys) return `${top.path}[${top.index}]`;
    return childPath(top.path, top.key);
  };
  for (let at = 0; at < text.length; at += 1) {
    const char = text[at];
    const top = frames.at(-1);
    if (char === '"') {
      const end = endOfString(text, at);
      if (top?.keys && top.expectsKey) {
        top.key = JSON.parse(text.slice(at, end + 1)) as string;
        if (top.keys.has(top.key)) found.add(presentPath());
        top.keys.add(top.key);
        top.expectsKey = false;
      }
      at = end;
    } else if (char === '{') {
      frames.push({ keys: new Set(), path: presentPath(), index: 0, key: '', expectsKey: true });
    } else if (char === '[') {
      frames.push({ keys: undefined, path: presentPath(), index: 0, key: '', expectsKey: false });
    } else if (char === '}' || char === ']') {
      frames.pop();
    } else if (char === ',' && top) {
      if (top.keys) top.expectsKey = true;
      else top.index += 1;
    }
  }
  return [...found];
}

function endOfString(text: string, start: number): number {
  let at = start + 1;
  while (at < text.length && text[at] !== '"') at += text[at] === '\\' ? 2 : 1;
  return at;
}

/** The same for a YAML document. */
export function findDuplicateYamlFields(document: Document.Parsed): string[] {
  const found = new Set<string>();
  visit(document.contents, '', found);
  return [...found];
}

function visit(node: unknown, path: string, found: Set<string>): void {
  if (isSeq(node)) {
    for (const [index, item] of node.items.entries()) visit(item, `${path}[${index}]`, found);
  } else if (isMap(node)) {
    const seen = new Set<string>();
    for (const { key, value } of node.items) {
      const name = isScalar(key) ? String(key.value) : String(key);
      const at = childPath(path, name);
      if (seen.has(name)) found.add(at);
      seen.add(name);
      // An alias repeats fields that were looked at where they were written.
      if (!isAlias(value)) visit(value, at, found);
    }
  }
}
