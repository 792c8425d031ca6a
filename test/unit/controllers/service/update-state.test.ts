import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hashTemplate, recordRevision, type Revision } from '../../../../controllers/service/revision.ts';
import { REVISION_LABEL, SLOT_LABEL } from '../../../../controllers/service/slots.ts';
import { planUpdateState, type Update } from '../../../../controllers/service/update-state.ts';
import { wantedSlots } from '../../../../controllers/service/wanted-slots.ts';
import type { Container, ContainerStatus } from '../../../../crds/container.ts';
import type { Service, ServiceSpecInput } from '../../../../crds/service.ts';
import { makeContainer, makeService, NOW, readyCondition, secondsAgo } from '../../../support/objects.ts';

/** What becomes of a Service over several looks at it. */
interface Story {
  service: Service;
  children: Container[];
}

const version = (value: string) => ({ env: [{ name: 'V', value }] });
const hashOf = (value: string): string => hashTemplate(makeService('web', { template: version(value) }).spec.template);

type State = 'ready' | 'fresh' | 'starting' | 'backoff' | 'restarted' | 'failed' | 'unhealthy' | 'no-image' | 'waiting';
const NOT_READY: Partial<Record<State, string>> = {
  starting: 'Starting',
  backoff: 'BackOff',
  failed: 'Error',
  unhealthy: 'Unhealthy',
  'no-image': 'ImagePullBackOff',
  waiting: 'Unschedulable',
};

function child(slot: number, value: string, state: State = 'ready'): Container {
  const reason = NOT_READY[state];
  const condition = reason
    ? readyCondition('False', { reason })
    : readyCondition('True', { seconds: state === 'ready' ? 600 : 1 });
  const restarted: ContainerStatus = {
    restartCount: 1,
    lastTermination: { exitCode: 1, reason: 'Error', finishedAt: secondsAgo(2) },
  };
  return makeContainer(`web-${slot}`, {
    metadata: { labels: { [SLOT_LABEL]: String(slot), [REVISION_LABEL]: hashOf(value) } },
    status: {
      phase: state === 'failed' ? 'Failed' : 'Running',
      ...(state === 'restarted' ? restarted : {}),
      ...(state === 'failed' ? { exitCode: 1, reason: 'Error' } : {}),
      conditions: [condition],
    },
  });
}

/** Looks at the Service as it is, and writes down what was decided. */
function look(story: Story, now = NOW): Update & { target: string; fallback: string; refusal: string | undefined } {
  const { service, children } = story;
  const history = recordRevision(service.status?.revisions ?? [], service.spec.template, now);
  const wanted = wantedSlots(service, [], children);
  const { update, target, fallback, refusal } = planUpdateState({ service, history, wanted, children, now });
  const isThrough = update.phase === 'Completed' || update.phase === 'RolledBack';
  story.service = {
    ...service,
    status: {
      ...service.status,
      revisions: [...history],
      update,
      ...(isThrough ? { currentRevision: target.hash } : {}),
    },
  };
  const nameOf = ({ hash }: Revision): string => ['a', 'b', 'c'].find((value) => hashOf(value) === hash) ?? hash;
  return { ...update, target: nameOf(target), fallback: nameOf(fallback), refusal };
}

/** Another spec, as a user writes it. */
function write(story: Story, value: string, spec: Partial<ServiceSpecInput> = {}): void {
  const { service } = story;
  const { replicas, updateStrategy } = service.spec;
  const next = makeService('web', { replicas, updateStrategy, ...spec, template: version(value) });
  story.service = { ...service, spec: next.spec };
}

/** Three replicas, all at `a`, complete. */
function settled(updateStrategy: ServiceSpecInput['updateStrategy'] = {}): Story {
  const story: Story = {
    service: makeService('web', { replicas: 3, updateStrategy, template: version('a') }),
    children: [1, 2, 3].map((slot) => child(slot, 'a')),
  };
  assert.deepEqual([look(story).phase, look(story).target], ['Completed', 'a']);
  return story;
}

test('planUpdateState() of a new Service holds nothing up, whatever fails', () => {
  const story: Story = {
    service: makeService('web', { replicas: 2, template: version('a') }),
    children: [child(1, 'a', 'backoff'), child(2, 'a')],
  };
  const { phase, revision, fromRevision, failedSlots } = look(story);
  assert.deepEqual([phase, revision, fromRevision, failedSlots], ['Updating', 1, 0, '']);
  // The first time nothing is watched: there is nothing to go back to.
  story.children = [child(1, 'a', 'fresh'), child(2, 'a')];
  assert.equal(look(story).phase, 'Completed');
});

test('planUpdateState() goes from one template to the next, and remembers the one before', () => {
  const story = settled();
  write(story, 'b');
  const begun = look(story);
  assert.deepEqual([begun.phase, begun.revision, begun.target, begun.fallback], ['Updating', 2, 'b', 'a']);
  story.children = [child(1, 'b'), child(2, 'b', 'fresh'), child(3, 'a')];
  assert.deepEqual([look(story).phase, look(story).updatedSlots], ['Updating', '1']);
  story.children = [1, 2, 3].map((slot) => child(slot, 'b'));
  assert.deepEqual([look(story).phase, look(story).target, look(story).fallback], ['Completed', 'b', 'b']);
});

test('planUpdateState() of a Service without slots is through at once, and has nothing to go back from', () => {
  const story = settled({ failureAction: 'Rollback' });
  write(story, 'a', { replicas: 0 });
  story.children = [];
  write(story, 'b', { replicas: 0 });
  assert.deepEqual([look(story).phase, look(story).target], ['Completed', 'b']);
  write(story, 'b', { replicas: 1 });
  story.children = [child(1, 'b', 'failed')];
  assert.deepEqual([look(story).phase, look(story).target], ['Completed', 'b']);
});

test('planUpdateState() is not through before the last old Container is gone', () => {
  const story = settled();
  write(story, 'b');
  const leaving = child(3, 'a');
  leaving.metadata.deletionTimestamp = secondsAgo(1);
  story.children = [1, 2, 3].map((slot) => child(slot, 'b'));
  story.children.push(leaving);
  assert.equal(look(story).phase, 'Updating');
  // From a node that does not answer it may never go.
  leaving.status = { conditions: [readyCondition('Unknown', { reason: 'NodeUnreachable' })] };
  assert.equal(look(story).phase, 'Completed');
});

test('planUpdateState() waits for monitorSeconds and minReadySeconds, whichever is longer', () => {
  const story = settled();
  write(story, 'b');
  story.children = [1, 2, 3].map((slot) => child(slot, 'b', 'fresh'));
  assert.equal(look(story).phase, 'Updating');
  assert.equal(look(story, NOW + 3_000).phase, 'Updating');
  assert.equal(look(story, NOW + 4_000).phase, 'Completed');
  write(story, 'b', { minReadySeconds: 30, updateStrategy: { monitorSeconds: 0 } });
  assert.equal(look(story).phase, 'Completed', 'what is complete stays it');
});

test('planUpdateState() pauses at each sign of a bad template, and says which', () => {
  const signs: [State, RegExp][] = [
    ['backoff', /^web-1 \(BackOff\) failed$/],
    ['restarted', /^web-1 \(Error, exited with code 1\) failed$/],
    ['failed', /^web-1 \(Error, exited with code 1\) failed$/],
    ['unhealthy', /^web-1 \(Unhealthy\) failed$/],
    ['no-image', /^web-1 \(ImagePullBackOff\) failed$/],
  ];
  for (const [state, message] of signs) {
    const story = settled();
    write(story, 'b');
    look(story, NOW - 10_000);
    story.children = [child(1, 'b', state), child(2, 'a'), child(3, 'a')];
    const { phase, failedSlots, fallback, message: text } = look(story);
    assert.deepEqual([phase, failedSlots, fallback], ['Paused', '1', 'a'], state);
    assert.match(text, message);
  }
  const waiting = settled();
  write(waiting, 'b');
  waiting.children = [child(1, 'b', 'waiting'), child(2, 'a'), child(3, 'a')];
  assert.equal(look(waiting).phase, 'Updating', 'what may still come is no failure');
});

test('planUpdateState() stays paused when the container recovers, until the user changes something about the update', () => {
  const story = settled();
  write(story, 'b');
  story.children = [child(1, 'b', 'backoff'), child(2, 'a'), child(3, 'a')];
  assert.equal(look(story).phase, 'Paused');
  story.children = [child(1, 'b'), child(2, 'a'), child(3, 'a')];
  assert.equal(look(story).phase, 'Paused');
  write(story, 'b', { replicas: 5 });
  assert.equal(look(story).phase, 'Paused', 'scaling is no answer to it');
  write(story, 'b', { replicas: 5, updateStrategy: { maxFailurePercent: 20 } });
  assert.deepEqual([look(story).phase, look(story).fromRevision, look(story).failedSlots], ['Updating', 1, '']);
});

test('planUpdateState() takes a container that passed and then failed for no failed update', () => {
  const story = settled();
  write(story, 'b');
  story.children = [child(1, 'b'), child(2, 'a'), child(3, 'a')];
  assert.equal(look(story).updatedSlots, '1');
  story.children = [child(1, 'b', 'backoff'), child(2, 'a'), child(3, 'a')];
  assert.deepEqual([look(story).phase, look(story).failedSlots], ['Updating', '']);
});

test('planUpdateState() tolerates failures up to maxFailurePercent, and all with Continue', () => {
  const story = settled({ maxFailurePercent: 34 });
  write(story, 'b');
  story.children = [child(1, 'b', 'backoff'), child(2, 'a'), child(3, 'a')];
  assert.deepEqual([look(story).phase, look(story).failedSlots], ['Updating', '1']);
  story.children = [child(1, 'b', 'backoff'), child(2, 'b'), child(3, 'b')];
  assert.deepEqual([look(story).phase, look(story).failedSlots], ['Completed', '1']);
  const second = settled({ maxFailurePercent: 34 });
  write(second, 'b');
  second.children = [child(1, 'b', 'backoff'), child(2, 'b', 'backoff'), child(3, 'a')];
  assert.equal(look(second).phase, 'Paused');
  const going = settled({ failureAction: 'Continue' });
  write(going, 'b');
  going.children = [child(1, 'b', 'backoff'), child(2, 'b', 'backoff'), child(3, 'a')];
  assert.equal(look(going).phase, 'Updating');
  going.children = [1, 2, 3].map((slot) => child(slot, 'b', 'backoff'));
  assert.deepEqual([look(going).phase, look(going).failedSlots], ['Completed', '1-3']);
});

test('planUpdateState() rolls back to the last complete revision, and stays there', () => {
  const story = settled({ failureAction: 'Rollback' });
  write(story, 'b');
  story.children = [child(1, 'b', 'backoff'), child(2, 'a'), child(3, 'a')];
  const back = look(story);
  assert.deepEqual(
    [back.phase, back.target, back.fallback, back.message],
    ['RollingBack', 'a', 'a', 'revision 2: web-1 (BackOff) failed'],
  );
  story.children = [child(1, 'a', 'fresh'), child(2, 'a'), child(3, 'a')];
  assert.equal(look(story).phase, 'RollingBack');
  story.children = [1, 2, 3].map((slot) => child(slot, 'a'));
  assert.deepEqual([look(story).phase, look(story).target], ['RolledBack', 'a']);
  // A third template starts from there; the one that failed is tried again when the user says so.
  write(story, 'c');
  assert.deepEqual([look(story).phase, look(story).target, look(story).fallback], ['Updating', 'c', 'a']);
  write(story, 'b');
  assert.deepEqual([look(story).phase, look(story).target, look(story).fallback], ['Updating', 'b', 'a']);
});

test('planUpdateState() pauses a rollback that fails as well', () => {
  const story = settled({ failureAction: 'Rollback' });
  write(story, 'b');
  story.children = [child(1, 'b', 'backoff'), child(2, 'a'), child(3, 'a')];
  look(story, NOW - 10_000);
  story.children = [child(1, 'a', 'restarted'), child(2, 'a'), child(3, 'a')];
  const { phase, message } = look(story);
  assert.deepEqual(
    [phase, message],
    ['RollbackPaused', 'revision 2: web-1 (BackOff) failed; then web-1 (Error, exited with code 1) failed'],
  );
});

test('planUpdateState() pauses where there is nothing else to go back to', () => {
  const story = settled({ failureAction: 'Rollback' });
  write(story, 'b');
  look(story);
  write(story, 'a');
  story.children = [child(1, 'a', 'backoff'), child(2, 'a'), child(3, 'b')];
  const { phase, message } = look(story);
  assert.deepEqual([phase, message], ['Paused', 'web-1 (BackOff) failed; there is no other revision to go back to']);
});

test('planUpdateState() keeps the last complete revision when it is overtaken ten times', () => {
  const story = settled({ failureAction: 'Rollback' });
  for (let round = 0; round < 10; round += 1) {
    write(story, ['b', 'c'][round % 2] ?? '');
    story.children = [child(1, ['b', 'c'][round % 2] ?? '', 'starting'), child(2, 'a'), child(3, 'a')];
    assert.deepEqual([look(story).phase, look(story).fallback, look(story).fromRevision], ['Updating', 'a', 1]);
  }
  assert.deepEqual(
    story.service.status?.revisions?.map(({ revision }) => revision),
    [1, 2, 3],
  );
});

test('planUpdateState() follows rollbackTo while it is set, and its number stays what it was', () => {
  const story = settled();
  write(story, 'b');
  story.children = [1, 2, 3].map((slot) => child(slot, 'b'));
  look(story);
  write(story, 'b', { rollbackTo: 1 });
  assert.deepEqual([look(story).phase, look(story).target, look(story).fallback], ['Updating', 'a', 'b']);
  story.children = [1, 2, 3].map((slot) => child(slot, 'a'));
  assert.equal(look(story).phase, 'Completed');
  // A new template is noted, and waits.
  write(story, 'c', { rollbackTo: 1 });
  assert.deepEqual([look(story).phase, look(story).target], ['Completed', 'a']);
  write(story, 'c');
  assert.deepEqual([look(story).phase, look(story).revision, look(story).target], ['Updating', 3, 'c']);
});

test('planUpdateState() refuses an unknown revision and leaves everything as it is', () => {
  const story = settled();
  write(story, 'b', { rollbackTo: 9 });
  const { phase, target, refusal } = look(story);
  assert.deepEqual([phase, target], ['Completed', 'a']);
  assert.equal(refusal, 'spec.rollbackTo: there is no revision 9, only 1, 2');
  write(story, 'b');
  assert.deepEqual([look(story).phase, look(story).target, look(story).refusal], ['Updating', 'b', undefined]);
});

test('planUpdateState() of 0 replicas is complete', () => {
  const story = settled();
  write(story, 'b', { replicas: 0 });
  story.children = [];
  assert.deepEqual([look(story).phase, look(story).target], ['Completed', 'b']);
});

test('planUpdateState() of a Service that an older version kept begins nothing that was done, and goes on with what was not', () => {
  const story = settled();
  // That version wrote no status.update, and gave a template that came back a new number.
  const kept = (value: string, current: string): void => {
    const revisions = ['b', 'a'].map((one, index) => ({
      revision: index + 2,
      hash: hashOf(one),
      template: makeService('web', { template: version(one) }).spec.template,
    }));
    story.service = {
      ...makeService('web', { replicas: 3, template: version(value) }),
      status: { revisions, currentRevision: hashOf(current) },
    };
  };
  kept('a', 'a');
  story.children = [child(1, 'a', 'backoff'), child(2, 'a'), child(3, 'a')];
  const { phase, revision, failedSlots } = look(story);
  assert.deepEqual([phase, revision, failedSlots], ['Completed', 3, ''], 'what fails is no failed update');
  write(story, 'b');
  assert.deepEqual([look(story).phase, look(story).target, look(story).fallback], ['Updating', 'b', 'a']);
  kept('a', 'b');
  story.children = [child(1, 'a'), child(2, 'b'), child(3, 'b')];
  assert.deepEqual([look(story).phase, look(story).target, look(story).fallback], ['Updating', 'a', 'b']);
});
