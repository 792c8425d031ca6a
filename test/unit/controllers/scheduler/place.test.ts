import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createLedger } from '../../../../controllers/scheduler/ledger.ts';
import { createFindPlace } from '../../../../controllers/scheduler/place.ts';
import type { Container } from '../../../../crds/container.ts';
import { createFakeClock } from '../../../support/fake-clock.ts';
import { makeContainer, makeNode } from '../../../support/objects.ts';

function setUp({ isReady = true } = {}) {
  const ledger = createLedger();
  ledger.setNode(makeNode('a'));
  const context = {
    volume: () => undefined,
    network: () => undefined,
    container: () => undefined,
    imageOf: () => undefined,
    nodesOfVolume: () => [],
  };
  const findPlace = createFindPlace({
    ...{ ledger, context, clock: createFakeClock(), isReady: () => isReady, observeAttempt: () => undefined },
  });
  const ports = [{ containerPort: 80, hostPort: 80 }];
  const draft = (name: string): Container => {
    const { uid: _, resourceVersion: __, ...metadata } = makeContainer(name).metadata;
    return { ...makeContainer(name, { ports }), metadata };
  };
  return { ledger, findPlace, draft, created: (name: string) => makeContainer(name, { ports, nodeName: 'a' }) };
}

test('a place is kept from the moment it is found, and is the claim of what is created there', () => {
  const { ledger, findPlace, draft, created } = setUp();
  const place = findPlace(draft('one'));
  assert.equal(place?.nodeName, 'a');
  // Both want the same port of the node.
  assert.equal(findPlace(draft('two')), undefined);
  place?.settle(created('one'));
  assert.deepEqual([ledger.claim('default/one')?.uid, ledger.claim('default/one')?.isAssumed], ['uid-one', false]);
  assert.equal(findPlace(draft('two')), undefined);
});

test('a place of what was not created is free again, unless the informer has shown it meanwhile', () => {
  const { ledger, findPlace, draft, created } = setUp();
  findPlace(draft('one'))?.settle(undefined);
  assert.equal(ledger.claim('default/one'), undefined);
  const place = findPlace(draft('two'));
  ledger.setContainer(created('two'));
  place?.settle(undefined);
  assert.equal(ledger.claim('default/two')?.uid, 'uid-two');
});

test('none is found for a name that is still on a node, for what is bound, nor before all is known', () => {
  const { ledger, findPlace, draft, created } = setUp();
  assert.equal(findPlace(created('one')), undefined);
  ledger.setContainer(created('one'));
  assert.equal(findPlace({ ...draft('one'), spec: makeContainer('one').spec }), undefined);
  assert.equal(setUp({ isReady: false }).findPlace(draft('one')), undefined);
});
