// Updates under random orders of events: containers that start at their own pace, fail or vanish, users who change their
// minds. Whatever happens, the promises of updateStrategy hold after each step.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { planReplicas } from '../../../../controllers/service/plan.ts';
import { hashTemplate, pruneRevisions, recordRevision } from '../../../../controllers/service/revision.ts';
import { isReady, REVISION_LABEL, SLOT_LABEL } from '../../../../controllers/service/slots.ts';
import { planUpdateState } from '../../../../controllers/service/update-state.ts';
import { wantedSlots } from '../../../../controllers/service/wanted-slots.ts';
import type { Container, ContainerStatus } from '../../../../crds/container.ts';
import type { Service } from '../../../../crds/service.ts';
import { makeContainer, makeService, NOW } from '../../../support/objects.ts';

const RUNS = process.env['WINDLASS_LONG'] ? 1000 : 24;
const STEPS = 100;
const BLANK = makeContainer('blank');

interface Replica {
  container: Container;
  isBad: boolean;
  /** When it is Ready next, and when it fails then. */
  readyAt: number;
  failsAt: number;
}

/** A sequence of numbers below 1 that `seed` decides. */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

interface Model {
  service: Service;
  replicas: Replica[];
  /** A whole number below `limit`. */
  below(limit: number): number;
  /** Slots that may be on their way at the same time. */
  limit(): number;
  /** A user writes a template, one that never works if `isBad`. */
  write(isBad: boolean): void;
  /** What a reconciliation does; in how many ms it wants to look again. */
  reconcile(): number | undefined;
  now(): number;
  remove(uid: string | undefined): void;
  /** Time goes on, and with it what runs on the nodes. */
  pass(ms: number): void;
  live(): Replica[];
  describe(): string;
}

function createModel(seed: number, spec: Parameters<typeof makeService>[1]): Model {
  const random = randomOf(seed);
  const bad = new Set<string>();
  let [now, uid, version] = [NOW, 0, 0];
  const model: Model = {
    service: makeService('web', spec),
    replicas: [],
    below: (limit) => Math.floor(random() * limit),
    limit() {
      const { updateStrategy, replicas } = model.service.spec;
      return updateStrategy.parallelism === 0 ? replicas : updateStrategy.parallelism;
    },
    write(isBad) {
      version += 1;
      const value = isBad ? `bad${model.below(3)}` : `good${version % 4}`;
      const { template } = makeService('web', { template: { env: [{ name: 'V', value }] } }).spec;
      model.service = { ...model.service, spec: { ...model.service.spec, template } };
      if (isBad) bad.add(hashTemplate(template));
    },
    reconcile() {
      const { service } = model;
      const children = model.replicas.map(({ container }) => container);
      const history = recordRevision(service.status?.revisions ?? [], service.spec.template, now);
      const wanted = wantedSlots(service, [], children);
      const { update, target, fallback } = planUpdateState({ service, history, wanted, children, now });
      const isThrough = update.phase === 'Completed' || update.phase === 'RolledBack';
      const currentRevision = isThrough ? target.hash : (service.status?.currentRevision ?? '');
      const inUse = new Set([target.hash, fallback.hash, currentRevision, hashTemplate(service.spec.template)]);
      const revisions = pruneRevisions(history, { inUse, limit: 3 });
      model.service = { ...service, status: { ...service.status, update, revisions, currentRevision } };
      const plan = planReplicas({
        service: model.service,
        wanted,
        children,
        update,
        target: target.hash,
        fallback: fallback.hash,
        now,
        isForeign: () => false,
      });
      for (const { container } of plan.remove) model.remove(container.metadata.uid);
      for (const { name, wanted: one, revision } of plan.create) {
        assert.ok(
          !model.replicas.some(({ container }) => container.metadata.name === name),
          `${name} is there already`,
        );
        model.replicas.push(start(name, one.slot, revision));
      }
      return plan.requeueAfterMs;
    },
    now: () => now,
    remove(which) {
      const replica = model.replicas.find(({ container }) => container.metadata.uid === which);
      if (!replica) return;
      const { metadata } = replica.container;
      replica.container = { ...replica.container, metadata: { ...metadata, deletionTimestamp: time(now) } };
    },
    pass(ms) {
      now += ms;
      model.replicas = model.replicas.filter(
        ({ container }) => container.metadata.deletionTimestamp === undefined || model.below(3) > 0,
      );
      for (const replica of model.replicas) proceed(replica);
    },
    live: () => model.replicas.filter(({ container }) => container.metadata.deletionTimestamp === undefined),
    describe() {
      const lines = model.replicas.map(({ container: { metadata, status } }) => {
        const { deletionTimestamp, labels, name } = metadata;
        return `${name} ${labels?.[REVISION_LABEL]} ${deletionTimestamp ? 'deleting' : status?.phase}`;
      });
      return [JSON.stringify(model.service.status?.update), ...lines].join('\n');
    },
  };

  function start(name: string, slot: string, revision: string): Replica {
    uid += 1;
    const isBad = bad.has(revision);
    const readyAt = now + 500 + model.below(8_000);
    const metadata = {
      name,
      uid: `u${uid}`,
      namespace: 'default',
      creationTimestamp: time(now),
      labels: { [SLOT_LABEL]: slot, [REVISION_LABEL]: revision },
    };
    return {
      container: { ...BLANK, metadata, status: { phase: 'Pending', conditions: [] } },
      isBad,
      readyAt,
      failsAt: isBad ? readyAt + model.below(4_000) : Number.POSITIVE_INFINITY,
    };
  }

  // In every other model what fails is over for good; else it runs again for a while, which a paused update must not
  // take for health.
  function proceed(replica: Replica): void {
    const { status = {} } = replica.container;
    if (status.phase === 'Failed') return;
    const set = (next: ContainerStatus): void => void (replica.container = { ...replica.container, status: next });
    if (now < replica.failsAt) {
      if (now < replica.readyAt || status.phase === 'Running') return;
      return set({ ...status, phase: 'Running', conditions: [condition('True', 'Running', replica.readyAt)] });
    }
    const finishedAt = time(replica.failsAt);
    const startedAt = time(replica.readyAt);
    if (seed % 2 === 0) {
      const conditions = [condition('False', 'Error', replica.failsAt)];
      return set({ phase: 'Failed', reason: 'Error', exitCode: 1, startedAt, finishedAt, conditions });
    }
    set({
      phase: 'Pending',
      reason: 'BackOff',
      restartCount: (status.restartCount ?? 0) + 1,
      lastTermination: { exitCode: 1, reason: 'Error', startedAt, finishedAt },
      conditions: [condition('False', 'BackOff', replica.failsAt)],
    });
    replica.readyAt = now + model.below(3_000);
    replica.failsAt = replica.readyAt + model.below(4_000);
  }
  return model;
}

const time = (ms: number): string => new Date(Math.floor(ms / 1000) * 1000).toISOString().replace('.000Z', 'Z');
const condition = (status: 'True' | 'False', reason: string, at: number) => ({
  type: 'Ready',
  status,
  reason,
  message: '',
  lastTransitionTime: time(at),
});

/** The controller looks again when something has changed, or when it wanted to: nothing may depend on luck. */
function settle(model: Model, done: () => boolean): void {
  let seen = '';
  let lookAt = 0;
  for (let round = 0; round < 1_000 && !done(); round += 1) {
    const present = JSON.stringify([model.service, model.replicas.map(({ container }) => container)]);
    if (present !== seen || model.now() >= lookAt) {
      lookAt = model.now() + (model.reconcile() ?? Number.POSITIVE_INFINITY);
      seen = present;
    }
    model.pass(1_000);
  }
  assert.ok(done(), `it came to no end:\n${model.describe()}`);
}

const isComplete = (model: Model, revision: string): boolean =>
  model.service.status?.update?.phase === 'Completed' &&
  model.replicas.length === model.service.spec.replicas &&
  model.live().every(({ container }) => container.metadata.labels?.[REVISION_LABEL] === revision && isReady(container));

const slotOf = ({ container }: Replica): string => container.metadata.labels?.[SLOT_LABEL] ?? '';

function checkSlots(model: Model): void {
  const { order } = model.service.spec.updateStrategy;
  const most = order === 'StartFirst' ? 2 : 1;
  for (const [slot, replicas] of Map.groupBy(model.replicas, slotOf)) {
    assert.ok(replicas.length <= most, `slot ${slot} has ${replicas.length} Containers:\n${model.describe()}`);
  }
  const surge = order === 'StartFirst' ? model.limit() : 0;
  const wanted = new Set(wantedSlots(model.service, [], []).map(({ slot }) => slot));
  const live = model.live().filter((replica) => wanted.has(slotOf(replica)));
  assert.ok(live.length <= model.service.spec.replicas + surge, `too many:\n${model.describe()}`);
}

for (const order of ['StopFirst', 'StartFirst'] as const) {
  test(`an update with ${order} that is overtaken at any time keeps enough replicas available`, () => {
    for (let seed = 1; seed <= RUNS; seed += 1) {
      const replicas = 1 + (seed % 6);
      const model = createModel(seed, { replicas, updateStrategy: { order, parallelism: seed % 4 } });
      settle(model, () => model.service.status?.update?.phase === 'Completed');
      const least = order === 'StartFirst' ? replicas : replicas - model.limit();
      for (let step = 0; step < STEPS; step += 1) {
        if (model.below(8) === 0) model.write(false);
        model.reconcile();
        checkSlots(model);
        const available = model.live().filter(({ container }) => isReady(container)).length;
        assert.ok(available >= least, `seed ${seed}, step ${step}: ${available} of ${replicas}\n${model.describe()}`);
        model.pass(model.below(3_000));
      }
      const wanted = hashTemplate(model.service.spec.template);
      settle(model, () => isComplete(model, wanted));
    }
  });

  test(`an update with ${order} to a template that does not work reaches parallelism slots, whatever else happens`, () => {
    for (let seed = 1; seed <= RUNS; seed += 1) {
      const failureAction = seed % 4 < 2 ? 'Pause' : 'Rollback';
      const parallelism = 1 + (seed % 3);
      const replicas = 2 + (seed % 6);
      const model = createModel(seed, { replicas, updateStrategy: { order, parallelism, failureAction } });
      settle(model, () => model.service.status?.update?.phase === 'Completed');
      for (let step = 0; step < STEPS; step += 1) {
        const dice = model.below(30);
        if (dice < 3) model.write(dice < 2);
        else if (dice === 3) {
          const spec = { ...model.service.spec, replicas: 1 + model.below(8) };
          model.service = { ...model.service, spec };
        } else if (dice < 7) {
          // A node dies, or somebody deletes it.
          const victim = model.replicas[model.below(model.replicas.length)];
          model.remove(victim?.container.metadata.uid);
        }
        model.reconcile();
        checkSlots(model);
        const bad = model.live().filter(({ isBad }) => isBad);
        for (const [revision, some] of Map.groupBy(
          bad,
          ({ container }) => container.metadata.labels?.[REVISION_LABEL],
        )) {
          assert.ok(
            some.length <= parallelism,
            `seed ${seed}, step ${step}: ${some.length} of ${revision}\n${model.describe()}`,
          );
        }
        model.pass(model.below(3_000));
      }
      model.write(false);
      const wanted = hashTemplate(model.service.spec.template);
      settle(model, () => isComplete(model, wanted));
    }
  });
}
