import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { StreamTarget } from '../../../../runtime-shim/streaming/targets.ts';
import { createTokens } from '../../../../runtime-shim/streaming/tokens.ts';

const target: StreamTarget = { kind: 'portforward', sandboxId: 'a', ports: [] };

test('a token is good once, for a minute, for what it was made for', () => {
  let now = 0;
  const tokens = createTokens(() => now);
  const [used, wrong, old] = [tokens.issue(target), tokens.issue(target), tokens.issue(target)];
  assert.match(used, /^[0-9a-f]{64}$/);
  assert.equal(tokens.take('portforward', used), target);
  assert.equal(tokens.take('portforward', used), undefined);
  assert.equal(tokens.take('attach', wrong), undefined);
  assert.equal(tokens.take('portforward', wrong), undefined);
  now = 60_000;
  assert.equal(tokens.take('portforward', old), undefined);
});

test('the oldest token is forgotten when there are too many', () => {
  const tokens = createTokens(() => 0);
  const first = tokens.issue(target);
  const others = Array.from({ length: 1_000 }, () => tokens.issue(target));
  assert.equal(tokens.take('portforward', first), undefined);
  assert.equal(tokens.take('portforward', others[0] ?? ''), target);
});
