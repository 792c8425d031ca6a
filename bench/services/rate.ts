// How fast replicas come and go, beside Docker Swarm on the same machine, in one run.
//   node_modules/.bin/node bench/services/rate.ts [--rounds 5] [--step 50]
// Ours: one whole `windlass up`; a scale is one PATCH of spec.replicas, and it is over when the Service says that all of
// them are Ready (and no other Container is there). Swarm: Debian's dockerd as a swarm of one, in a net namespace of its
// own; a scale is one update by its API, over when all tasks run and no other container does. One warm image each, no
// published ports, each on its default network. Both are looked at every 5 ms. What is killed has run for 10 s.
import { cpus, release } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { importBusybox } from '../../test/support/busybox.ts';
import { startInstance } from '../../test/support/instance.ts';
import { renderTable, summarise, timed } from '../measure.ts';
import { DOCKER_IMAGE, startDockerd } from '../runtime/dockerd.ts';
import { makeInput, PeerMissing, SLEEP } from '../runtime/peer.ts';
import { waitForQuiet } from '../runtime/quiet.ts';
import { followServices, until } from './follow.ts';

const { values } = parseArgs({
  options: { rounds: { type: 'string', default: '5' }, step: { type: 'string', default: '50' } },
});
const [rounds, step] = [Number(values.rounds), Number(values.step)];

interface Orchestrator {
  readonly name: string;
  /** Resolves when the one replica is usable, or at once for none. */
  create(service: string, replicas: 0 | 1): Promise<void>;
  /** Resolves when `replicas` are there and usable, and no more. */
  scale(service: string, replicas: number): Promise<void>;
  /** Kills one replica from outside; resolves when another is usable in its place. */
  killOne(service: string): Promise<void>;
  remove(service: string): Promise<void>;
  close(): Promise<void>;
}

async function createWindlass(): Promise<Orchestrator> {
  const instance = await startInstance();
  await importBusybox(instance);
  const services = await followServices(instance);
  return {
    ...services,
    name: 'windlass',
    killOne: (name) => services.killOne(name),
    async close() {
      await services.close();
      await instance[Symbol.asyncDispose]();
    },
  };
}

interface SwarmTask {
  readonly DesiredState: string;
  readonly Status: { readonly State: string; readonly ContainerStatus?: { readonly PID?: number } };
}

async function createSwarm(input: Parameters<typeof startDockerd>[0]): Promise<Orchestrator> {
  const { call, docker, close } = await startDockerd(input);
  await docker('swarm', 'init', '--advertise-addr', '127.0.0.1', '--listen-addr', '127.0.0.1:2377');
  // What has ended is removed at once, so that containers can be counted.
  await docker('swarm', 'update', '--task-history-limit', '0');
  const query = (filters: object): string => encodeURIComponent(JSON.stringify(filters));
  const tasksOf = async (service: string): Promise<SwarmTask[]> => {
    const path = `/tasks?filters=${query({ service: [service], 'desired-state': ['running'] })}`;
    return JSON.parse(await call('GET', path)) as SwarmTask[];
  };
  const running = (tasks: readonly SwarmTask[]): number =>
    tasks.filter(({ Status }) => Status.State === 'running').length;
  const isThere = async (service: string, replicas: number): Promise<boolean> => {
    const tasks = await tasksOf(service);
    if (tasks.length !== replicas || running(tasks) !== replicas) return false;
    const containers = JSON.parse(await call('GET', '/containers/json?all=1')) as unknown[];
    return containers.length === replicas;
  };
  const specOf = (name: string, replicas: number): object => ({
    Name: name,
    TaskTemplate: {
      ContainerSpec: { Image: DOCKER_IMAGE, Command: SLEEP, StopGracePeriod: 0 },
      // As fast as it can: the default waits 5 s before it replaces a task.
      RestartPolicy: { Condition: 'any', Delay: 1_000_000 },
    },
    Mode: { Replicated: { Replicas: replicas } },
  });
  return {
    name: 'docker swarm',
    async create(name, replicas) {
      await call('POST', '/services/create', specOf(name, replicas));
      await until(() => isThere(name, replicas), `service ${name}`);
    },
    async scale(name, replicas) {
      const { Version } = JSON.parse(await call('GET', `/services/${name}`)) as { Version: { Index: number } };
      await call('POST', `/services/${name}/update?version=${Version.Index}`, specOf(name, replicas));
      await until(() => isThere(name, replicas), `${replicas} tasks`);
    },
    async killOne(name) {
      const tasks = await tasksOf(name);
      const pid = tasks[0]?.Status.ContainerStatus?.PID;
      if (!pid) throw new Error('no task to kill');
      process.kill(pid, 'SIGKILL');
      await until(async () => {
        const now = await tasksOf(name);
        const isOther = now.every(({ Status }) => Status.ContainerStatus?.PID !== pid);
        return isOther && running(now) === tasks.length;
      }, 'the task after the kill');
    },
    async remove(name) {
      await call('DELETE', `/services/${name}`);
      await until(
        async () => (JSON.parse(await call('GET', '/containers/json?all=1')) as unknown[]).length === 0,
        'its end',
      );
    },
    async close() {
      await docker('swarm', 'leave', '--force');
      await close();
    },
  };
}

/** What is measured, in the order in which it happens; with the number of containers that a time is divided by. */
const STEPS: readonly (readonly [label: string, containers: number, run: (one: Orchestrator) => Promise<void>])[] = [
  [`scale 0 → ${step}`, step, (one) => one.scale('web', step)],
  [`scale ${step} → ${2 * step}`, step, (one) => one.scale('web', 2 * step)],
  [`killed and replaced, beside ${2 * step}`, 1, (one) => one.killOne('web')],
  [`scale ${2 * step} → 0`, 2 * step, (one) => one.scale('web', 0)],
  ['one replica, create to Ready', 1, (one) => one.create('single', 1)],
];

/** A replica that has run that long is restarted without a pause by ours; swarm was told not to pause at all. */
const STABLE_MS = 11_000;

async function measure(one: Orchestrator): Promise<Map<string, number>> {
  await one.create('web', 0);
  const result = new Map<string, number>();
  for (const [label, containers, run] of STEPS) {
    if (label.startsWith('killed')) await sleep(STABLE_MS);
    await waitForQuiet(5_000);
    result.set(label, (await timed(() => run(one))) / containers);
  }
  for (const name of ['single', 'web']) await one.remove(name);
  return result;
}

using input = makeInput();
const peers: Orchestrator[] = [];
try {
  peers.push(await createWindlass());
  peers.push(await createSwarm(input));
} catch (error) {
  if (!(error instanceof PeerMissing)) throw error;
  console.log(`left out: docker swarm (${error.message})`);
}
const times = new Map<string, number[]>();
try {
  for (const one of peers) {
    await one.create('warm', 1);
    await one.remove('warm');
  }
  for (let round = 0; round < rounds; round += 1) {
    for (const one of peers) {
      for (const [label, ms] of await measure(one)) {
        const key = `${one.name} ${label}`;
        times.set(key, [...(times.get(key) ?? []), ms]);
      }
    }
  }
} finally {
  for (const one of peers) await one.close();
}

console.log(`${cpus().length} x ${cpus()[0]?.model.trim()}, Linux ${release()}, ${rounds} rounds; ms per container\n`);
const median = (name: string, label: string): number => summarise(times.get(`${name} ${label}`) ?? []).medianMs;
console.log(
  renderTable(
    ['', ...peers.map(({ name }) => name), 'ratio'],
    STEPS.map(([label]) => {
      const all = peers.map(({ name }) => median(name, label));
      const [ours = Number.NaN, theirs] = all;
      return [label, ...all.map((ms) => ms.toFixed(1)), theirs === undefined ? '' : `${(theirs / ours).toFixed(1)}x`];
    }),
  ),
);
