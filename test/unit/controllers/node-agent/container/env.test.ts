import assert from 'node:assert/strict';
import { test } from 'node:test';
import { buildEnv, expandVariables, type EnvLookup } from '../../../../../controllers/node-agent/container/env.ts';

const lookup: EnvLookup = {
  configMap: (name) => (name === 'cm' ? { A: Buffer.from('1'), B: Buffer.from('2') } : undefined),
  secret: (name) => (name === 'sec' ? { B: Buffer.from('secret') } : undefined),
  field: (path) => (path === 'metadata.name' ? 'web' : undefined),
};

test('buildEnv() takes envFrom first, later sources and env win', () => {
  const result = buildEnv(
    [
      { name: 'NAME', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } },
      { name: 'URL', value: 'http://$(NAME):$(P_A)/$(NOPE)' },
      { name: 'KEY', valueFrom: { secretKeyRef: { name: 'sec', key: 'B' } } },
    ],
    [
      { prefix: 'P_', configMapRef: { name: 'cm' } },
      { secretRef: { name: 'sec' } },
      { configMapRef: { name: 'x', optional: true } },
    ],
    lookup,
  );
  assert.deepEqual(result, {
    ok: true,
    env: [
      { key: 'P_A', value: '1' },
      { key: 'P_B', value: '2' },
      { key: 'B', value: 'secret' },
      { key: 'NAME', value: 'web' },
      { key: 'URL', value: 'http://web:1/$(NOPE)' },
      { key: 'KEY', value: 'secret' },
    ],
  });
});

test('buildEnv() names what is missing', () => {
  const missing = (entry: Parameters<typeof buildEnv>[0][number]) => buildEnv([entry], [], lookup);
  assert.deepEqual(missing({ name: 'X', valueFrom: { configMapKeyRef: { name: 'no', key: 'k' } } }), {
    ok: false,
    message: 'configmap "no" not found',
  });
  assert.deepEqual(missing({ name: 'X', valueFrom: { secretKeyRef: { name: 'sec', key: 'k' } } }), {
    ok: false,
    message: 'key "k" not found in secret "sec"',
  });
  assert.deepEqual(missing({ name: 'X', valueFrom: { secretKeyRef: { name: 'sec', key: 'k', optional: true } } }), {
    ok: true,
    env: [],
  });
});

test('expandVariables() keeps $$ as one dollar and what it does not know as written', () => {
  const values = new Map([['A', 'x']]);
  assert.equal(expandVariables('$(A) $$(A) $A $(B) $$$(A)', values), 'x $(A) $A $(B) $x');
});
