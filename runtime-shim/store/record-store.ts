// Records in memory, each mirrored in a file: <folder>/sandboxes/<id>.json and <folder>/containers/<id>.json.
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { WindlassError } from '../../lib/errors.ts';
import type { ContainerRecord, SandboxRecord } from './records.ts';

export interface RecordTable<Record extends { readonly id: string }> {
  /** By full id; undefined when absent. */
  get(id: string): Record | undefined;
  /** By id or a unique prefix of it; undefined when absent, Invalid when ambiguous. */
  find(idOrPrefix: string): Record | undefined;
  list(): readonly Record[];
  /** On disk when it returns. */
  save(record: Record): void;
  remove(id: string): void;
}

export interface RecordStore {
  readonly sandboxes: RecordTable<SandboxRecord>;
  readonly containers: RecordTable<ContainerRecord>;
}

/** Opens the store and reads what an earlier run left; files that cannot be read are reported and put aside. */
export function openRecordStore(folder: string, onDamaged: (file: string, error: unknown) => void): RecordStore {
  return {
    sandboxes: openTable<SandboxRecord>(join(folder, 'sandboxes'), onDamaged),
    containers: openTable<ContainerRecord>(join(folder, 'containers'), onDamaged),
  };
}

function openTable<Record extends { readonly id: string }>(
  folder: string,
  onDamaged: (file: string, error: unknown) => void,
): RecordTable<Record> {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const records = new Map<string, Record>();
  const fileOf = (id: string): string => join(folder, `${id}.json`);
  for (const name of readdirSync(folder)) {
    const file = join(folder, name);
    if (!name.endsWith('.json')) {
      // A temporary file of a write that never became visible.
      if (name.endsWith('.tmp')) rmSync(file, { force: true });
      continue;
    }
    try {
      const record = JSON.parse(readFileSync(file, 'utf8')) as Record;
      if (`${record.id}.json` !== name) throw new Error('the record names another id');
      records.set(record.id, record);
    } catch (error) {
      onDamaged(file, error);
      renameSync(file, `${file}.damaged`);
    }
  }
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
      const file = fileOf(record.id);
      // No fsync: the folder does not outlive a reboot, and a killed process loses nothing that was renamed.
      writeFileSync(`${file}.tmp`, JSON.stringify(record), { mode: 0o600 });
      renameSync(`${file}.tmp`, file);
      records.set(record.id, record);
    },
    remove(id) {
      rmSync(fileOf(id), { force: true });
      records.delete(id);
    },
  };
}
