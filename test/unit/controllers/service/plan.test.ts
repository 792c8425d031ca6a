import assert from 'node:assert/strict';
import { test } from 'node:test';
import { planReplicas, type ServiceObserved } from '../../../../controllers/service/plan.ts';
import { hashTemplate } from '../../../../controllers/service/revision.ts';
import { HEALED_ANNOTATION, REVISION_LABEL, SLOT_LABEL } from '../../../../controllers/service/slots.ts';
import type { Update } from '../../../../controllers/service/update-state.ts';
import { wantedSlots } from '../../../../controllers/service/wanted-slots.ts';
import type { Container } from '../../../../crds/container.ts';
import type { Service } from '../../../../crds/service.ts';
import { makeContainer, makeNode, makeService, NOW, readyCondition, secondsAgo } from '../../../support/objects.ts';

type State = 'ready' | 'starting' | 'failed' | 'deleting' | 'backoff';

/** A child in slot `slot` of revision `old` or `new`. */
function child(
  slot: number,
  revision: 'old' | 'new',
  state: State = 'ready',
  options: { name?: string; readySeconds?: number } = {},
): Container {
  const phase = state === 'failed' ? 'Failed' : state === 'starting' || state === 'backoff' ? 'Pending' : 'Running';
  return makeContainer(options.name ?? `web-${slot}`, {
    metadata: {
      uid: `uid-${options.name ?? `web-${slot}`}-${revision}`,
      labels: { [SLOT_LABEL]: String(slot), [REVISION_LABEL]: revision },
      ...(state === 'deleting' ? { deletionTimestamp: secondsAgo(1) } : {}),
    },
    status: {
      phase,
      ...(state === 'backoff' ? { reason: 'BackOff', restartCount: 3 } : {}),
      ...(state === 'failed' ? { startedAt: secondsAgo(100), finishedAt: secondsAgo(90), exitCode: 1 } : {}),
      conditions: [readyCondition(state === 'ready' ? 'True' : 'False', { seconds: options.readySeconds ?? 600 })],
    },
  });
}

/** An update from `old` to `new` that has just begun; without old Containers one that is complete. */
function updateOf(children: readonly Container[], over: Partial<Update> = {}): Update {
  const isGoing = children.some(({ metadata }) => metadata.labels?.[REVISION_LABEL] === 'old');
  return {
    phase: isGoing ? 'Updating' : 'Completed',
    revision: 2,
    fromRevision: 1,
    settings: '',
    startedAt: secondsAgo(1000),
    updatedSlots: '',
    failedSlots: '',
    message: '',
    ...over,
  };
}

function observe(service: Service, children: readonly Container[], over: Partial<Update> = {}): ServiceObserved {
  return {
    service,
    wanted: wantedSlots(service, [], children),
    children,
    update: updateOf(children, over),
    target: 'new',
    fallback: 'old',
    now: NOW,
    isForeign: () => false,
  };
}

function plan(
  service: Service,
  children: Container[],
  { foreign = [], ...over }: Partial<Update> & { foreign?: string[] } = {},
) {
  const result = planReplicas({
    ...observe(service, children, over),
    isForeign: (name) => foreign.includes(name),
  });
  return {
    create: result.create.map(({ name, revision }) => (revision === 'new' ? name : `${name} ${revision}`)),
    remove: result.remove.map(({ container, why }) => `${container.metadata.name} ${why}`),
    conflicts: result.conflicts,
    requeueAfterMs: result.requeueAfterMs,
  };
}
const NOTHING = { create: [], remove: [], conflicts: [], requeueAfterMs: undefined };

test('planReplicas() fills all slots of a new Service', () => {
  assert.deepEqual(plan(makeService('web', { replicas: 3 }), []).create, ['web-1', 'web-2', 'web-3']);
});

test('planReplicas() does nothing when all is as wanted', () => {
  assert.deepEqual(plan(makeService('web', { replicas: 2 }), [child(1, 'new'), child(2, 'new')]), NOTHING);
});

test('planReplicas() leaves what is starting alone', () => {
  assert.deepEqual(plan(makeService('web', { replicas: 1 }), [child(1, 'new', 'starting')]), NOTHING);
});

test('planReplicas() scales up by the missing slots only', () => {
  assert.deepEqual(plan(makeService('web', { replicas: 4 }), [child(1, 'new'), child(3, 'new')]).create, [
    'web-2',
    'web-4',
  ]);
});

test('planReplicas() scales down from the highest slot', () => {
  const children = [1, 2, 3].map((slot) => child(slot, 'new'));
  assert.deepEqual(plan(makeService('web', { replicas: 1 }), children).remove, [
    'web-2 ScaledDown',
    'web-3 ScaledDown',
  ]);
});

test('planReplicas() scales to zero', () => {
  const children = [child(1, 'new'), child(2, 'old')];
  assert.deepEqual(plan(makeService('web', { replicas: 0 }), children).remove, [
    'web-1 ScaledDown',
    'web-2 ScaledDown',
  ]);
});

test('planReplicas() does not remove again what is being removed', () => {
  assert.deepEqual(plan(makeService('web', { replicas: 0 }), [child(1, 'new', 'deleting')]), NOTHING);
});

test('planReplicas() waits with a slot until its old Container is gone', () => {
  assert.deepEqual(plan(makeService('web', { replicas: 1 }), [child(1, 'old', 'deleting')]), NOTHING);
});

test('planReplicas() refuses a name that somebody else has, and fills the other slots', () => {
  const result = plan(makeService('web', { replicas: 3 }), [], { foreign: ['web-2'] });
  assert.deepEqual([result.create, result.conflicts], [['web-1', 'web-3'], ['web-2']]);
});

test('planReplicas() removes a Container that failed for good, to fill its slot again', () => {
  assert.deepEqual(plan(makeService('web', { replicas: 1 }), [child(1, 'new', 'failed')]), {
    ...NOTHING,
    remove: ['web-1 Failed'],
  });
});

test('planReplicas() heals a slot that keeps failing less and less often', () => {
  const failed = child(1, 'new', 'failed');
  failed.metadata.annotations = { [HEALED_ANNOTATION]: '7' };
  const result = plan(makeService('web', { replicas: 1 }), [failed]);
  assert.deepEqual([result.remove, result.requeueAfterMs], [[], 38_000]);
});

test('planReplicas() leaves a Container alone that stands still because it should', () => {
  const stopped = child(1, 'new', 'failed');
  stopped.spec.desiredState = 'Stopped';
  assert.deepEqual(plan(makeService('web', { replicas: 1 }), [stopped]), NOTHING);
});

test('planReplicas() leaves a clean end under OnFailure alone', () => {
  const done = child(1, 'new', 'failed');
  done.spec.restartPolicy = 'OnFailure';
  done.status = { ...done.status, phase: 'Succeeded' };
  assert.deepEqual(plan(makeService('web', { replicas: 1 }), [done]), NOTHING);
});

test('planReplicas() keeps the Ready one of two in a slot', () => {
  const double = child(1, 'new', 'starting', { name: 'web-1-new' });
  assert.deepEqual(plan(makeService('web', { replicas: 1 }), [double, child(1, 'new')]).remove, [
    'web-1-new Superfluous',
  ]);
});

test('planReplicas() updates one slot at a time, lowest first', () => {
  const children = [1, 2, 3].map((slot) => child(slot, 'old'));
  assert.deepEqual(plan(makeService('web', { replicas: 3 }), children), { ...NOTHING, remove: ['web-1 Updated'] });
});

test('planReplicas() gives the same answer on a stale cache', () => {
  const service = makeService('web', { replicas: 3 });
  const children = [1, 2, 3].map((slot) => child(slot, 'old'));
  assert.deepEqual(plan(service, children), plan(service, children));
});

test('planReplicas() waits with the next slot until the last one is Ready', () => {
  const service = makeService('web', { replicas: 3 });
  for (const state of ['starting', 'deleting', 'backoff'] as const) {
    const children = [child(1, state === 'deleting' ? 'old' : 'new', state), child(2, 'old'), child(3, 'old')];
    assert.deepEqual(plan(service, children).remove, [], state);
  }
});

test('planReplicas() updates as many at once as parallelism says; 0 is all', () => {
  const children = [1, 2, 3].map((slot) => child(slot, 'old'));
  const at = (parallelism: number) =>
    plan(makeService('web', { replicas: 3, updateStrategy: { parallelism } }), children).remove.length;
  assert.deepEqual([at(1), at(2), at(9), at(0)], [1, 2, 3, 3]);
});

test('planReplicas() updates what does not work first', () => {
  const children = [child(1, 'old'), child(2, 'old'), child(3, 'old', 'backoff')];
  assert.deepEqual(plan(makeService('web', { replicas: 3 }), children).remove, ['web-3 Updated']);
});

test('planReplicas() waits delaySeconds after a slot became Ready', () => {
  const service = makeService('web', { replicas: 2, updateStrategy: { delaySeconds: 30 } });
  const early = plan(service, [child(1, 'new', 'ready', { readySeconds: 10 }), child(2, 'old')]);
  assert.deepEqual([early.remove, early.requeueAfterMs], [[], 20_000]);
  const late = plan(service, [child(1, 'new', 'ready', { readySeconds: 30 }), child(2, 'old')]);
  assert.deepEqual(late.remove, ['web-2 Updated']);
});

test('planReplicas() waits minReadySeconds before it counts a slot as updated', () => {
  const service = makeService('web', { replicas: 2, minReadySeconds: 10 });
  assert.deepEqual(plan(service, [child(1, 'new', 'ready', { readySeconds: 5 }), child(2, 'old')]).remove, []);
  assert.deepEqual(plan(service, [child(1, 'new', 'ready', { readySeconds: 10 }), child(2, 'old')]).remove, [
    'web-2 Updated',
  ]);
});

test('planReplicas() waits with the next slot for one that failed, unless that is tolerated', () => {
  const children = [child(1, 'new', 'backoff'), child(2, 'old'), child(3, 'old')];
  const failed = { failedSlots: '1' };
  assert.deepEqual(plan(makeService('web', { replicas: 3 }), children, failed).remove, []);
  const going = makeService('web', { replicas: 3, updateStrategy: { failureAction: 'Continue' } });
  assert.deepEqual(plan(going, children, failed).remove, ['web-2 Updated']);
  const tolerant = makeService('web', { replicas: 3, updateStrategy: { maxFailurePercent: 34 } });
  assert.deepEqual(plan(tolerant, children, failed).remove, ['web-2 Updated']);
});

test('planReplicas() replaces nothing while the update is paused, and fills what the update had not reached with the old template', () => {
  const service = makeService('web', { replicas: 4 });
  const paused = { phase: 'Paused', failedSlots: '1' } as const;
  const children = [child(1, 'new', 'backoff'), child(2, 'old'), child(3, 'old')];
  assert.deepEqual(plan(service, children, paused), { ...NOTHING, create: ['web-4 old'] });
  // The slot that failed is what its user looks at.
  assert.deepEqual(plan(service, [child(2, 'old'), child(3, 'old')], paused).create, ['web-1', 'web-4 old']);
});

test('planReplicas() gives an empty slot the new template only as far as the update has room', () => {
  const service = makeService('web', { replicas: 5, updateStrategy: { parallelism: 2 } });
  const children = [child(1, 'new', 'starting'), child(5, 'old')];
  assert.deepEqual(plan(service, children), { ...NOTHING, create: ['web-2', 'web-3 old', 'web-4 old'] });
});

test('planReplicas() waits monitorSeconds, so that a template that crashes after a second replaces one slot only', () => {
  const service = makeService('web', { replicas: 3 });
  const at = (readySeconds: number) =>
    plan(service, [child(1, 'new', 'ready', { readySeconds }), child(2, 'old'), child(3, 'old')]);
  assert.deepEqual(at(1), { ...NOTHING, requeueAfterMs: 4_000 });
  assert.deepEqual(at(5).remove, ['web-2 Updated']);
});

test('planReplicas() replaces a failed Container of the old revision at once', () => {
  const service = makeService('web', { replicas: 3 });
  const failed = child(2, 'old', 'failed');
  failed.metadata.annotations = { [HEALED_ANNOTATION]: '7' };
  assert.deepEqual(plan(service, [child(1, 'old'), failed, child(3, 'old')]), {
    ...NOTHING,
    remove: ['web-2 Updated'],
  });
  // Without room for it, it is the old template again, after its backoff.
  const busy = plan(service, [child(1, 'new', 'starting'), failed, child(3, 'old')]);
  assert.deepEqual(busy, { ...NOTHING, requeueAfterMs: 38_000 });
});

test('planReplicas() with StartFirst makes a newcomer that failed for good again only after its backoff', () => {
  const service = makeService('web', {
    replicas: 2,
    updateStrategy: { order: 'StartFirst', failureAction: 'Continue' },
  });
  const newcomer = child(1, 'new', 'failed', { name: 'web-1-new' });
  newcomer.metadata.annotations = { [HEALED_ANNOTATION]: '7' };
  const result = plan(service, [child(1, 'old'), newcomer, child(2, 'old')], { failedSlots: '1' });
  assert.deepEqual(result, { ...NOTHING, create: ['web-2-new'], requeueAfterMs: 38_000 });
});

test('planReplicas() never has three Containers in a slot: a newcomer that another update overtakes goes first', () => {
  const service = makeService('web', { replicas: 1, updateStrategy: { order: 'StartFirst' } });
  const old = child(1, 'old');
  const overtaken = child(1, 'old', 'starting', { name: 'web-1-between' });
  assert.deepEqual(plan(service, [old, overtaken]), { ...NOTHING, remove: ['web-1-between Superfluous'] });
  const leaving = child(1, 'old', 'deleting', { name: 'web-1-between' });
  assert.deepEqual(plan(service, [old, leaving]), NOTHING);
  assert.deepEqual(plan(service, [old]).create, ['web-1-new']);
});

test('planReplicas() with StartFirst keeps the old one until the newcomer has passed monitorSeconds', () => {
  const service = makeService('web', { replicas: 1, updateStrategy: { order: 'StartFirst' } });
  const at = (readySeconds: number) =>
    plan(service, [child(1, 'old'), child(1, 'new', 'ready', { name: 'web-1-new', readySeconds })]).remove;
  assert.deepEqual([at(4), at(5)], [[], ['web-1 Updated']]);
});

test('planReplicas() works as StopFirst where a volume is held by one container at a time', () => {
  const updateStrategy = { order: 'StartFirst' } as const;
  const mounts = [{ mountPath: '/data', volume: 'db' }];
  const one = makeService('web', { replicas: 1, updateStrategy, template: { mounts } });
  assert.deepEqual(plan(one, [child(1, 'old')]), { ...NOTHING, remove: ['web-1 Updated'] });
  // Replicas that share a volume have it together anyway.
  const two = makeService('web', { replicas: 2, updateStrategy, template: { mounts } });
  assert.deepEqual(plan(two, [child(1, 'old'), child(2, 'old')]).create, ['web-1-new']);
  const volumeTemplates = [{ name: 'db' }];
  const own = makeService('web', { replicas: 2, updateStrategy, template: { mounts }, volumeTemplates });
  assert.deepEqual(plan(own, [child(1, 'old'), child(2, 'old')]), { ...NOTHING, remove: ['web-1 Updated'] });
  // Not before the old one is gone for good.
  assert.deepEqual(plan(own, [child(1, 'old', 'deleting'), child(2, 'old')]), NOTHING);
  const readers = makeService('web', {
    updateStrategy,
    template: { mounts: [{ ...mounts[0], mountPath: '/d', readOnly: true }] },
  });
  assert.deepEqual(plan(readers, [child(1, 'old')]).create, ['web-1-new']);
});

test('planReplicas() goes back to what is still there when an update with StartFirst is rolled back', () => {
  const service = makeService('web', { replicas: 2, updateStrategy: { order: 'StartFirst' } });
  const back = { phase: 'RollingBack', revision: 1, fromRevision: 1 } as const;
  const children = [child(1, 'new'), child(1, 'old', 'backoff', { name: 'web-1-bad' }), child(2, 'new')];
  assert.deepEqual(plan(service, children, back), { ...NOTHING, remove: ['web-1-bad Updated'] });
});

test('planReplicas() with StartFirst creates the newcomer beside the old one, then removes that', () => {
  const service = makeService('web', { replicas: 1, updateStrategy: { order: 'StartFirst' } });
  const old = child(1, 'old');
  assert.deepEqual(plan(service, [old]), { ...NOTHING, create: ['web-1-new'] });
  assert.deepEqual(plan(service, [old, child(1, 'new', 'starting', { name: 'web-1-new' })]), NOTHING);
  assert.deepEqual(plan(service, [old, child(1, 'new', 'ready', { name: 'web-1-new' })]), {
    ...NOTHING,
    remove: ['web-1 Updated'],
  });
});

test('planReplicas() scales down newcomer and old one of a slot together', () => {
  const service = makeService('web', { replicas: 0, updateStrategy: { order: 'StartFirst' } });
  const children = [child(1, 'old'), child(1, 'new', 'starting', { name: 'web-1-new' })];
  assert.deepEqual(plan(service, children).remove.toSorted(), ['web-1 ScaledDown', 'web-1-new ScaledDown']);
});

test('planReplicas() ignores children whose slot label is no slot', () => {
  const odd = child(1, 'new');
  odd.metadata.labels = { [SLOT_LABEL]: '-1' };
  assert.deepEqual(plan(makeService('web', { replicas: 1 }), [odd]).create, ['web-1']);
});

test('planReplicas() reaches the wanted state from any mix, and then rests', () => {
  const service = makeService('web', { replicas: 5, updateStrategy: { parallelism: 2 } });
  let children: Container[] = [
    child(1, 'old'),
    child(2, 'old', 'failed'),
    child(4, 'old', 'backoff'),
    child(7, 'new'),
    child(9, 'old'),
  ];
  for (let round = 0; round < 20; round += 1) {
    const result = planReplicas(observe(service, children));
    if (result.create.length + result.remove.length === 0) break;
    const removed = new Set(result.remove.map(({ container }) => container));
    children = [
      ...children.filter((one) => !removed.has(one)),
      ...result.create.map(({ wanted, name, revision }) =>
        child(Number(wanted.slot), revision === 'new' ? 'new' : 'old', 'ready', { name }),
      ),
    ];
  }
  assert.deepEqual(
    children.map(({ metadata }) => `${metadata.name} ${metadata.labels?.[REVISION_LABEL]}`).toSorted(),
    [1, 2, 3, 4, 5].map((slot) => `web-${slot} new`),
  );
});

test('hashTemplate() does not depend on the order of keys, and sees every change', () => {
  const { template } = makeService('web', { template: { image: 'a', env: [{ name: 'X', value: '1' }] } }).spec;
  const reordered = JSON.parse(
    JSON.stringify({ spec: Object.fromEntries(Object.entries(template.spec).toReversed()) }),
  ) as typeof template;
  assert.equal(hashTemplate(template), hashTemplate(reordered));
  assert.notEqual(hashTemplate(template), hashTemplate({ spec: { ...template.spec, tty: true } }));
  assert.match(hashTemplate(template), /^[0-9a-f]{10}$/);
});

test('planReplicas() of a Global Service passes by what is on a node that does not answer', () => {
  const service = makeService('web', { mode: 'Global' });
  const on = (name: string, revision: 'old' | 'new', status: 'True' | 'Unknown'): Container => {
    const one = child(1, revision, 'ready', { name: `web-${name}` });
    one.metadata.labels = { ...one.metadata.labels, [SLOT_LABEL]: name };
    one.status = { ...one.status, conditions: [readyCondition(status)] };
    return one;
  };
  const look = (...children: Container[]): string[] => {
    const wanted = wantedSlots(
      service,
      ['a', 'b', 'c'].map((name) => makeNode(name)),
      children,
    );
    return planReplicas({ ...observe(service, children), wanted }).remove.map(
      ({ container }) => container.metadata.name,
    );
  };
  assert.deepEqual(look(on('a', 'old', 'Unknown'), on('b', 'old', 'True'), on('c', 'old', 'True')), ['web-b']);
  // It died in the middle of its update.
  const [leaving, b, c] = [on('a', 'old', 'Unknown'), on('b', 'old', 'True'), on('c', 'old', 'True')];
  leaving.metadata.deletionTimestamp = secondsAgo(1);
  assert.deepEqual(look(leaving, b, c), ['web-b']);
});

test('planReplicas() of a Global Service does not wait for what never came to a node that does not answer', () => {
  const service = makeService('web', { mode: 'Global' });
  const taints = [{ key: 'node.kubernetes.io/unreachable', effect: 'NoSchedule' as const }];
  const nodes = [makeNode('a', { ready: 'Unknown', taints }), makeNode('b'), makeNode('c')];
  const on = (name: string, state: State, revision: 'old' | 'new' = 'old'): Container => {
    const one = child(1, revision, state, { name: `web-${name}` });
    one.metadata.labels = { ...one.metadata.labels, [SLOT_LABEL]: name };
    return one;
  };
  const look = (...children: Container[]) => {
    const plan = planReplicas({ ...observe(service, children), wanted: wantedSlots(service, nodes, children) });
    return {
      remove: plan.remove.map(({ container }) => container.metadata.name),
      create: plan.create.map(({ name, revision }) => `${name} ${revision}`),
    };
  };
  // It cannot be bound, so that replacing it would help nobody: the update would hang on it.
  assert.deepEqual(look(on('a', 'starting'), on('b', 'ready'), on('c', 'ready')), { remove: ['web-b'], create: [] });
  assert.deepEqual(look(on('a', 'starting', 'new'), on('b', 'ready'), on('c', 'ready')).remove, ['web-b']);
  assert.deepEqual(look(on('b', 'ready'), on('c', 'ready')), { remove: ['web-b'], create: ['web-a old'] });
});
