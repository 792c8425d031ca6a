// Whole instances of other checkouts, as the paired measurements start them.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type * as busybox from '../../test/support/busybox.ts';
import type * as instances from '../../test/support/instance.ts';
import { followServices, type FollowedServices } from './follow.ts';

export interface Checkout {
  readonly name: string;
  readonly services: FollowedServices;
  /** Of its processes; one that is started again has another. */
  pids(): ReadonlyMap<string, number>;
  close(): Promise<void>;
}

interface UpState {
  readonly up: { readonly pid: number };
  readonly components: readonly { readonly name: string; readonly process?: { readonly pid: number } }[];
}

/** Starts the whole of what is in the folder `checkout`, with Image `busybox`. */
export async function start(name: string, checkout: string): Promise<Checkout> {
  const { startInstance } = (await import(join(checkout, 'test/support/instance.ts'))) as typeof instances;
  const { importBusybox } = (await import(join(checkout, 'test/support/busybox.ts'))) as typeof busybox;
  const instance = await startInstance();
  await importBusybox(instance);
  const services = await followServices(instance);
  return {
    ...{ name, services },
    pids() {
      const { up, components } = JSON.parse(readFileSync(join(instance.run, 'up.json'), 'utf8')) as UpState;
      const parts = components.flatMap(({ name: part, process: one }) => (one ? [[part, one.pid] as const] : []));
      return new Map([['supervisor', up.pid], ...parts]);
    },
    async close() {
      await services.close();
      await instance[Symbol.asyncDispose]();
    },
  };
}
