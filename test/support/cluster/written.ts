// What a test wrote by which server, and whether all of it is at every one of them.
import assert from 'node:assert/strict';
import { configMapKind, type ConfigMap } from '../../../crds/builtin.ts';
import { reasonOf } from '../../../lib/errors.ts';
import { waitFor } from '../wait.ts';
import type { ServerHost } from './server-hosts.ts';

export interface Written {
  /** Writes a ConfigMap of that name by that server, again until it is there. */
  write(on: ServerHost, name: string): Promise<void>;
  /** Asserts that each of `hosts` has all that was written, and nothing else. */
  check(...hosts: ServerHost[]): Promise<void>;
}

export function createWritten(): Written {
  const names: string[] = [];
  const maps = (on: ServerHost) => on.api().kind<ConfigMap>(configMapKind);
  return {
    async write(on, name) {
      const isWritten = (): Promise<boolean> =>
        maps(on)
          .create({ metadata: { name, namespace: 'default' }, data: { name } })
          .then(
            () => true,
            // An election may be under way; a write that was told to have failed may have happened.
            (error: unknown) => reasonOf(error) === 'AlreadyExists',
          );
      await waitFor(isWritten, { timeoutMs: 120_000, what: `a write of ${name} by ${on.listen}` });
      names.push(name);
    },
    async check(...hosts) {
      for (const host of hosts) {
        const { items } = await maps(host).list({ namespace: 'default' });
        assert.deepEqual(items.map(({ metadata }) => metadata.name).toSorted(), names.toSorted(), host.listen);
      }
    },
  };
}

/** The flags of the command that `token create` prints on that server. */
export async function flagsOfToken(on: ServerHost, ...args: string[]): Promise<string[]> {
  const made = await on.windlass(['token', 'create', '--print-join-command', ...args]);
  assert.equal(made.code, 0, made.stderr);
  return made.stdout.trim().split(' ').slice(2);
}
