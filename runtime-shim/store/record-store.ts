// Records in memory, each mirrored in a file: <folder>/sandboxes/<id>.json and <folder>/containers/<id>.json.
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { isUnavailable, WindlassError } from '../../lib/errors.ts';
import { parseContainerRecord, parseSandboxRecord } from './parse-record.ts';
import { removeTemporaryFiles, writeRecordFile } from './record-file.ts';
import type { ContainerRecord, SandboxRecord } from './records.ts';

export interface RecordTable<Record extends { readonly id: string }> {
  /** By full id; undefined when absent. */
  get(id: string): Record | undefined;
  /** By id or a unique prefix of it; undefined when absent, Invalid when ambiguous. */
  find(idOrPrefix: string): Record | undefined;
  list(): readonly Record[];
  /** On disk when it returns; when that fails, nothing has changed. For what is about to be done. */
  save(record: Record): void;
  /**
   * For what has happened and cannot be refused: known from now on, and on disk as soon as there is room. Until then a
   * crash brings back the record as it was, from which recovery comes to the same.
   */
  note(record: Record): void;
  remove(id: string): void;
}

export interface RecordStore {
  readonly sandboxes: RecordTable<SandboxRecord>;
  readonly containers: RecordTable<ContainerRecord>;
}

/** Opens the store and reads what an earlier run left; files that cannot be read are reported and put aside. */
export function openRecordStore(folder: string, onDamaged: (file: string, error: unknown) => void): RecordStore {
  return {
    sandboxes: openTable(join(folder, 'sandboxes'), parseSandboxRecord, onDamaged),
    containers: openTable(join(folder, 'containers'), parseContainerRecord, onDamaged),
  };
}

function openTable<Record extends { readonly id: string }>(
  folder: string,
  parse: (value: unknown) => Record,
  onDamaged: (file: string, error: unknown) => void,
): RecordTable<Record> {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  removeTemporaryFiles(folder);
  const records = new Map<string, Record>();
  const unsaved = new Set<string>();
  const fileOf = (id: string): string => join(folder, `${id}.json`);
  for (const name of readdirSync(folder)) {
    const file = join(folder, name);
    if (!name.endsWith('.json')) continue;
    try {
      const record = parse(JSON.parse(readFileSync(file, 'utf8')));
      if (`${record.id}.json` !== name) throw new Error('the record names another id');
      records.set(record.id, record);
    } catch (error) {
      onDamaged(file, error);
      renameSync(file, `${file}.damaged`);
    }
  }
  const write = (record: Record): void => {
    writeRecordFile(fileOf(record.id), JSON.stringify(record));
    unsaved.delete(record.id);
  };
  const writeUnsaved = (): void => {
    try {
      for (const id of unsaved) {
        const record = records.get(id);
        if (record) write(record);
      }
    } catch (error) {
      if (!isUnavailable(error)) throw error;
    }
  };
  return {
    get: (id) => records.get(id),
    find(idOrPrefix) {
      const exact = records.get(idOrPrefix);
      if (exact || idOrPrefix.length < 4) return exact;
      const matches = [...records.values()].filter(({ id }) => id.startsWith(idOrPrefix));
      if (matches.length > 1) throw new WindlassError('Invalid', `id ${idOrPrefix} is ambiguous`);
      return matches[0];
    },
    list: () => [...records.values()],
    save(record) {
      write(record);
      records.set(record.id, record);
      // There is room again.
      if (unsaved.size > 0) writeUnsaved();
    },
    note(record) {
      records.set(record.id, record);
      unsaved.add(record.id);
      writeUnsaved();
    },
    remove(id) {
      rmSync(fileOf(id), { force: true });
      unsaved.delete(id);
      records.delete(id);
    },
  };
}
