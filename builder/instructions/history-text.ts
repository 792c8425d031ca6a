// Values as the history of an image shows them: Docker prints them with Go's formats, and tools read them back.

/** A list as `%v` prints it: `[a b]`. */
export function formatList(items: readonly string[]): string {
  return `[${items.join(' ')}]`;
}

/** A list as `%q` prints it: `["a" "b"]`. */
export function formatQuoted(items: readonly string[]): string {
  return `[${items.map(quoteGo).join(' ')}]`;
}

const ESCAPES: Readonly<Record<string, string>> = {
  '\\': '\\\\',
  '"': '\\"',
  '\x07': '\\a',
  '\b': '\\b',
  '\f': '\\f',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
  '\v': '\\v',
};

function quoteGo(text: string): string {
  const escaped = text.replace(/[\\"\p{C}]|(?! )\p{Z}/gu, (character) => {
    const code = character.codePointAt(0) ?? 0;
    const hex = code.toString(16);
    if (ESCAPES[character] !== undefined) return ESCAPES[character];
    if (code < 0x80) return `\\x${hex.padStart(2, '0')}`;
    return code > 0xffff ? `\\U${hex.padStart(8, '0')}` : `\\u${hex.padStart(4, '0')}`;
  });
  return `"${escaped}"`;
}
