import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { createKnownSpecs, type ExecSpec } from '../../../../runtime-shim/oci-runtime/known-specs.ts';
import { stringifySpec, UNLIMITED, type OciSpec } from '../../../../runtime-shim/oci-runtime/oci-spec.ts';

const makeSpec = (arg: string): ExecSpec => ({
  process: {
    terminal: false,
    user: { uid: 0, gid: 0, additionalGids: [] },
    args: [arg],
    env: [],
    cwd: '/',
    capabilities: { bounding: [], effective: [], permitted: [], inheritable: [], ambient: [] },
    rlimits: [{ type: 'RLIMIT_STACK', soft: 1024, hard: UNLIMITED }],
    noNewPrivileges: true,
  },
  root: { path: '/root', readonly: false },
  linux: { cgroupsPath: '/group', resources: {} },
});

test('of() keeps what was noted or read, without the rest of the specification', (t) => {
  const bundle = mkdtempSync(join(tmpdir(), 'windlass-specs-'));
  t.after(() => rmSync(bundle, { recursive: true, force: true }));
  const full = { ...makeSpec('read'), mounts: [], linux: { ...makeSpec('').linux, seccomp: {}, devices: [] } };
  writeFileSync(join(bundle, 'config.json'), stringifySpec(full as unknown as OciSpec));
  const specs = createKnownSpecs();
  assert.deepEqual(specs.of(bundle), makeSpec('read'));
  rmSync(join(bundle, 'config.json'));
  assert.deepEqual(specs.of(bundle), makeSpec('read'), 'not read again');
  specs.note('/elsewhere', full);
  assert.deepEqual(specs.of('/elsewhere'), makeSpec('read'));
});

test('of() forgets the specification that was not used for longest', () => {
  const specs = createKnownSpecs();
  for (let count = 0; count < 64; count += 1) specs.note(`/${count}`, makeSpec(`${count}`));
  specs.of('/0');
  specs.note('/64', makeSpec('64'));
  assert.deepEqual(specs.of('/0'), makeSpec('0'));
  assert.throws(() => specs.of('/1'), { code: 'ENOENT' });
});
