// From the elements that something had in the tables to those that it has now.
import type { TableElement } from './table-elements.ts';
import type { Tables } from './tables.ts';

/** The items that are not among the others. Pure. */
export function minus(items: readonly TableElement[], others: readonly TableElement[]): TableElement[] {
  const keyOf = ({ set, words }: TableElement): string => `${set} ${words}`;
  const keys = new Set(others.map(keyOf));
  return items.filter((item) => !keys.has(keyOf(item)));
}

/** Takes out what is wanted no more, then puts in what is new. */
export async function replaceElements(
  tables: Pick<Tables, 'add' | 'remove'>,
  old: readonly TableElement[],
  wanted: readonly TableElement[],
): Promise<void> {
  tables.remove(minus(old, wanted));
  await tables.add(minus(wanted, old));
}
