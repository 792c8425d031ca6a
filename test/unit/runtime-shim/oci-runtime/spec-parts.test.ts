import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  DEFAULT_CAPABILITIES,
  parseBoundingSet,
  planCapabilities,
} from '../../../../runtime-shim/oci-runtime/capabilities.ts';
import {
  canPassThrough,
  conmonArguments,
  lastComplaint,
  parseSyncMessage,
} from '../../../../runtime-shim/oci-runtime/conmon.ts';
import { stringifySpec, type OciSpec } from '../../../../runtime-shim/oci-runtime/oci-spec.ts';
import { defaultSeccompProfile } from '../../../../runtime-shim/oci-runtime/seccomp-profile.ts';
import { criSignalName, signalNumber, stopSignalNumber } from '../../../../runtime-shim/oci-runtime/signals.ts';
import { planArgs, planEnv, planRlimits } from '../../../../runtime-shim/oci-runtime/spec-process.ts';
import { inFilterOrder } from '../../../../runtime-shim/oci-runtime/syscall-order.ts';
import { planSysctls } from '../../../../runtime-shim/oci-runtime/sysctls.ts';

const own = parseBoundingSet('CapBnd:\t000001fffeffffff\n');

test('planCapabilities() adds, drops and clamps to what the runtime has', () => {
  const plan = (add: string[], drop: string[], privileged = false) => planCapabilities({ add, drop, privileged }, own);
  assert.deepEqual(plan([], []).granted, [...DEFAULT_CAPABILITIES]);
  assert.deepEqual(plan(['NET_ADMIN'], ['ALL']).granted, ['CAP_NET_ADMIN']);
  assert.deepEqual(plan(['CAP_SYS_RESOURCE'], []).missing, ['CAP_SYS_RESOURCE']);
  assert.equal(plan(['ALL'], []).granted.length, 40);
  assert.deepEqual(plan(['ALL'], []).missing, []);
  assert.equal(plan([], [], true).granted.length, 40);
  assert.throws(() => plan(['bogus'], []), { reason: 'Invalid' });
});

test('defaultSeccompProfile() answers ENOSYS for clone3 and EPERM for mount unless CAP_SYS_ADMIN is held', () => {
  const find = (capabilities: string[], name: string) =>
    defaultSeccompProfile(capabilities, 'x64').syscalls.filter(({ names }) => names.includes(name));
  assert.deepEqual(
    find([], 'clone3').map(({ errnoRet }) => errnoRet),
    [38],
  );
  assert.deepEqual(
    find([], 'mount').map(({ action, errnoRet }) => [action, errnoRet]),
    [['SCMP_ACT_ERRNO', 1]],
  );
  assert.deepEqual(
    find(['CAP_SYS_ADMIN'], 'clone3').map(({ action }) => action),
    ['SCMP_ACT_ALLOW'],
  );
  assert.deepEqual(
    find(['CAP_SYS_ADMIN'], 'mount').map(({ action }) => action),
    ['SCMP_ACT_ALLOW'],
  );
});

test('defaultSeccompProfile() names a call under one action, and many of them in the order of the filter', () => {
  for (const capabilities of [[], ['CAP_SYS_ADMIN'], own.values().toArray()]) {
    const rules = defaultSeccompProfile(capabilities, 'x64').syscalls;
    const actions = Map.groupBy(
      rules.flatMap(({ names, action, errnoRet }) => names.map((name) => ({ name, answer: `${action} ${errnoRet}` }))),
      ({ name }) => name,
    );
    for (const [name, all] of actions) assert.equal(new Set(all.map(({ answer }) => answer)).size, 1, name);
    for (const { names } of rules) assert.deepEqual(names, inFilterOrder([...new Set(names)]));
  }
});

test('inFilterOrder() puts larger numbers first, and before them what x86_64 does not have', () => {
  const names = ['read', 'mseal', 'openat', 'chown32', 'write', 'statx', 'mmap2'];
  assert.deepEqual(inFilterOrder(names), ['chown32', 'mmap2', 'mseal', 'statx', 'openat', 'write', 'read']);
});

test('signals are read from CRI names, image texts and numbers', () => {
  assert.deepEqual(
    ['SIGNAL_SIGTERM', 'QUIT', '9', 'SIGRTMIN+3', 'SIGNAL_SIGRTMAXMINUS14', 'nonsense', '0'].map(signalNumber),
    [15, 3, 9, 37, 50, undefined, undefined],
  );
  assert.equal(stopSignalNumber('SIGNAL_RUNTIME_DEFAULT', 'SIGINT'), 2);
  assert.deepEqual([15, 34, 37, 50, 64].map(criSignalName), [
    'SIGNAL_SIGTERM',
    'SIGNAL_SIGRTMIN',
    'SIGNAL_SIGRTMINPLUS3',
    'SIGNAL_SIGRTMAXMINUS14',
    'SIGNAL_SIGRTMAX',
  ]);
});

test('planArgs() and planEnv() merge image and container as Docker does', () => {
  const image = { entrypoint: ['/e'], cmd: ['c'], env: ['A=1', 'PATH=/p'] };
  assert.deepEqual(planArgs({ command: [], args: [] }, image), ['/e', 'c']);
  assert.deepEqual(planArgs({ command: [], args: ['x'] }, image), ['/e', 'x']);
  assert.deepEqual(planArgs({ command: ['/n'], args: [] }, image), ['/n']);
  assert.throws(() => planArgs({ command: [], args: [] }, { entrypoint: [], cmd: [], env: [] }), { reason: 'Invalid' });
  assert.deepEqual(
    planEnv({ envs: [{ key: 'A', value: Buffer.from('2') }], tty: false }, image, { hostname: 'h', home: '/r' }),
    ['PATH=/p', 'HOSTNAME=h', 'A=2', 'HOME=/r'],
  );
});

test('planRlimits() clamps to the own hard limit and stringifySpec() writes infinity', () => {
  const ownLimits =
    'Max open files            1024                 20000                files\nMax locked memory         unlimited            unlimited            bytes\n';
  const { rlimits, clamped } = planRlimits(
    [
      { name: 'nofile', soft: 100, hard: 1_000_000 },
      { name: 'memlock', soft: -1, hard: -1 },
    ],
    { mayRaise: false, ownLimits },
  );
  assert.deepEqual(rlimits[0], { type: 'RLIMIT_NOFILE', soft: 100, hard: 20_000 });
  assert.deepEqual(clamped, ['nofile']);
  assert.match(
    stringifySpec({ process: { rlimits } } as unknown as OciSpec),
    /"soft":18446744073709551615,"hard":18446744073709551615/,
  );
  assert.throws(() => planRlimits([{ name: 'nofile', soft: 5, hard: 1 }], { mayRaise: true, ownLimits }), {
    reason: 'Invalid',
  });
});

test('planSysctls() allows only namespaced keys of own namespaces', () => {
  assert.deepEqual(planSysctls({ 'net/core/somaxconn': '5', 'kernel.sem': '1 2 3 4' }, { net: true, ipc: true }), {
    'net.core.somaxconn': '5',
    'kernel.sem': '1 2 3 4',
  });
  assert.throws(() => planSysctls({ 'net.core.somaxconn': '5' }, { net: false, ipc: true }), { reason: 'Forbidden' });
  assert.throws(() => planSysctls({ 'kernel.sem': '1+2' }, { net: true, ipc: true }), { reason: 'Invalid' });
});

test('conmon is told where everything is, and its complaint is passed on without decoration', () => {
  const args = conmonArguments({
    conmonPath: '/c',
    runtimePath: '/r',
    runtimeArgs: ['--root', '/s'],
    containerId: 'id',
    name: 'n',
    bundle: '/b',
    exitDirectory: '/x',
    logPath: '/l',
    terminal: true,
    stdin: false,
    leaveStdinOpen: false,
  });
  assert.ok(
    args.includes('--runtime-arg=--root') &&
      args.includes('k8s-file:/l') &&
      args.includes('-t') &&
      !args.includes('-i'),
  );
  assert.equal(parseSyncMessage('{"pid": 12}\n', 'id'), 12);
  const complaint =
    'time="x" level=error msg="runc create failed: exec: \\"nope\\": executable file not found in $PATH"';
  assert.equal(lastComplaint(complaint), 'runc create failed: exec: "nope": executable file not found in $PATH');
  assert.throws(() => parseSyncMessage(JSON.stringify({ pid: -1, message: complaint }), 'id'), {
    reason: 'Invalid',
    message: /nope/,
  });
  assert.throws(() => parseSyncMessage('', 'id'), { reason: 'Internal' });
});

test('only a conmon that knows passthrough is put between a program and its output', () => {
  const answers = [
    'conmon version 2.1.6',
    'conmon version 2.0.31\ncommit: x',
    'conmon version 3.0.0',
    'conmon version 2.0.25',
    '',
  ];
  assert.deepEqual(answers.map(canPassThrough), [true, true, true, false, false]);
});
