import assert from 'node:assert/strict';
import { test } from 'node:test';
import { stepKey, type StepInput } from '../../../builder/cache/step-key.ts';
import type { CopyOperation, RunMount, RunOperation } from '../../../builder/operations.ts';
import { digestOf } from '../../../oci/digest.ts';

const RUN: RunOperation = {
  ...{ kind: 'run', args: ['/bin/sh', '-c', 'make'], env: ['PATH=/bin'], proxyEnv: [], cwd: '/', user: '', mounts: [] },
  ...{ network: 'default', volumes: [] },
};
const COPY: CopyOperation = {
  ...{ kind: 'copy', instruction: 'COPY', from: { kind: 'context' }, sources: ['a'], files: [], destination: '/' },
  ...{ link: false, parents: false, exclude: [], keepGitDir: false },
};
const key = (operation: StepInput['operation'], rest: Partial<StepInput> = {}): string =>
  stepKey({ parent: digestOf('parent'), platform: 'linux/amd64', operation, ...rest });

test('whatever a RUN depends on is in its key', () => {
  const changes: Partial<RunOperation>[] = [
    { args: ['make'] },
    { env: ['PATH=/sbin'] },
    { cwd: '/src' },
    { user: 'nobody' },
    { volumes: ['/data'] },
    { script: { name: 'EOF', content: 'make' } },
    { mounts: [{ type: 'tmpfs', target: '/tmp' }] },
  ];
  const keys = new Set([key(RUN), ...changes.map((change) => key({ ...RUN, ...change }))]);
  keys.add(key(RUN, { parent: digestOf('other') }));
  keys.add(key(RUN, { parent: undefined }));
  keys.add(key(RUN, { platform: 'linux/arm64' }));
  keys.add(key(RUN, { isConnected: true }));
  keys.add(key(RUN, { epochSeconds: 1 }));
  assert.equal(keys.size, changes.length + 6);
});

test('secrets and the proxy of the host are not', () => {
  assert.equal(key({ ...RUN, proxyEnv: ['https_proxy=http://user:word@proxy'] }), key(RUN));
});

test('a bind mount counts by what is in it, not by where that is', () => {
  const mount: RunMount = { type: 'bind', target: '/src', from: { kind: 'context' }, source: '.', isWritable: false };
  const bound = { ...RUN, mounts: [mount] };
  const fromStage = { ...RUN, mounts: [{ ...mount, from: { kind: 'stage' as const, index: 1 }, source: 'x' }] };
  assert.equal(key(bound, { mounts: ['1'] }), key(fromStage, { mounts: ['1'] }));
  assert.notEqual(key(bound, { mounts: ['1'] }), key(bound, { mounts: ['2'] }));
});

test('a COPY counts by its files; a linked one not by what lies below, unless names are looked up there', () => {
  const other = digestOf('other');
  assert.notEqual(key(COPY, { files: '1' }), key(COPY, { files: '2' }));
  assert.notEqual(key(COPY, { files: '1' }), key(COPY, { files: '1', parent: other }));
  assert.equal(key({ ...COPY, sources: ['b'] }, { files: '1' }), key(COPY, { files: '1' }));
  const linked = { ...COPY, link: true };
  assert.equal(key(linked, { files: '1' }), key(linked, { files: '1', parent: other }));
  const owned = { ...linked, chown: '1:2' };
  assert.equal(key(owned, { files: '1' }), key(owned, { files: '1', parent: other }));
  const named = { ...linked, chown: 'app' };
  assert.notEqual(key(named, { files: '1' }), key(named, { files: '1', parent: other }));
});
