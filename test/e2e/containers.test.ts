// Containers as users expect them: what can be written in a Container, tried on a real busybox.
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { importBusybox } from '../support/busybox.ts';
import { applyContainer, deleteContainers, readyOf, runToEnd, statusOf, waitForStatus } from '../support/containers.ts';
import { startInstance } from '../support/instance.ts';
import { startPretendAgent } from '../support/pretend-agent.ts';
import { requirePrograms, requireRoot } from '../support/require.ts';
import { waitFor } from '../support/wait.ts';

test('containers', async (t) => {
  if (!requireRoot(t) || !requirePrograms(t, 'etcd', 'runc', 'conmon', 'nft', 'kubectl')) return;
  const instance = await startInstance();
  t.after(() => instance[Symbol.asyncDispose]());
  const { kubectl, kubectlOk } = instance;
  await importBusybox(instance);
  const running = (name: string) => waitForStatus(instance, name, (status) => readyOf(status)?.status === 'True');

  await t.test('command, args, env from values, objects and fields, workingDir, user, hostname', async () => {
    await kubectlOk(['create', 'configmap', 'settings', '--from-literal=color=blue', '--from-literal=MODE=fast']);
    await kubectlOk(['create', 'secret', 'generic', 'key', '--from-literal=token=s3cret']);
    const { status, output } = await runToEnd(instance, 'env', {
      command: ['sh', '-c'],
      args: ['echo "$A $B $COLOR $TOKEN $NAME $MODE $(pwd) $(id -u):$(id -g) $(hostname)"'],
      env: [
        { name: 'A', value: 'a' },
        { name: 'B', value: '$(A)b' },
        { name: 'COLOR', valueFrom: { configMapKeyRef: { name: 'settings', key: 'color' } } },
        { name: 'TOKEN', valueFrom: { secretKeyRef: { name: 'key', key: 'token' } } },
        { name: 'NAME', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } },
      ],
      envFrom: [{ configMapRef: { name: 'settings' } }],
      workingDir: '/tmp',
      user: '33:33',
      hostname: 'box',
    });
    assert.equal(output.trim(), 'a ab blue s3cret env fast /tmp 33:33 box');
    assert.deepEqual([status.phase, status.exitCode, status.reason], ['Succeeded', 0, 'Completed']);
  });

  await t.test('a failed container says its exit code', async () => {
    const { status } = await runToEnd(instance, 'fails', { command: ['sh', '-c', 'exit 3'] });
    assert.deepEqual([status.phase, status.exitCode, readyOf(status)?.reason], ['Failed', 3, 'Error']);
  });

  await t.test('published port, names on a network, masquerade address', async () => {
    await applyContainer(instance, 'server', {
      command: ['sh', '-c', 'echo served > /tmp/index.html; exec httpd -f -p 80 -h /tmp'],
      ports: [{ containerPort: 80, hostPort: 18_441 }],
      networks: [{ name: 'default', aliases: ['alias'] }],
    });
    await running('server');
    assert.equal((await (await fetch('http://127.0.0.1:18441/')).text()).trim(), 'served');
    for (const name of ['server', 'server.default', 'alias']) {
      const { output } = await runToEnd(instance, `client-${name.replace('.', '-')}`, {
        command: ['wget', '-qO-', `http://${name}/`],
      });
      assert.equal(output.trim(), 'served', name);
    }
    const { output } = await runToEnd(instance, 'wrong-name', {
      command: ['sh', '-c', 'nslookup nosuchname.invalid || echo no such name'],
    });
    assert.match(output, /no such name/);
  });

  await t.test('ports change in place', async () => {
    const before = await statusOf(instance, 'server');
    await kubectlOk([
      'patch',
      'ctr',
      'server',
      '--type=merge',
      '-p',
      '{"spec":{"ports":[{"containerPort":80,"hostPort":18442}]}}',
    ]);
    await waitFor(async () => (await fetch('http://127.0.0.1:18442/').catch(() => undefined))?.status === 200, {
      what: 'the new port',
    });
    assert.equal(await fetch('http://127.0.0.1:18441/').catch(() => 'refused'), 'refused');
    assert.equal((await statusOf(instance, 'server')).containerID, before.containerID);
  });

  await t.test('mounts: volume with copy-up, host path, tmpfs, configMap, secret, anonymous', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'windlass-host-path-'));
    t.after(() => rmSync(folder, { recursive: true, force: true }));
    mkdirSync(join(folder, 'sub'));
    writeFileSync(join(folder, 'file'), 'from the host');
    await instance.apply('{ apiVersion: windlass.dev/v1, kind: Volume, metadata: { name: kept }, spec: {} }');
    const mounts = [
      { mountPath: '/etc/copied', volume: 'kept' },
      { mountPath: '/host', hostPath: folder, readOnly: true },
      { mountPath: '/fast', tmpfs: { sizeLimit: '1Mi' } },
      { mountPath: '/settings', configMap: { name: 'settings' } },
      { mountPath: '/keys', secret: { name: 'key' } },
      { mountPath: '/anonymous' },
    ];
    const { output } = await runToEnd(instance, 'mounts', {
      command: [
        'sh',
        '-c',
        'cat /host/file; touch /host/x 2>&1; cat /settings/color /keys/token; echo; df -k /fast | tail -1; echo kept > /etc/copied/x; echo y > /anonymous/y; echo done',
      ],
      mounts,
    });
    assert.match(output, /from the host/);
    assert.match(output, /Read-only file system/);
    assert.match(output, /blues3cret/);
    assert.match(output, /tmpfs +1024/);
    assert.match(output, /done\n$/);
    const second = await runToEnd(instance, 'mounts-again', {
      command: ['cat', '/data/x'],
      mounts: [{ mountPath: '/data', volume: 'kept' }],
    });
    assert.equal(second.output, 'kept\n');
    await instance.apply('{ apiVersion: windlass.dev/v1, kind: Volume, metadata: { name: filled }, spec: {} }');
    const copied = await runToEnd(instance, 'copy-up', {
      command: ['sh', '-c', 'cat /etc/passwd | head -1'],
      mounts: [{ mountPath: '/etc', volume: 'filled' }],
    });
    assert.match(copied.output, /^root:/);
  });

  await t.test('restart policy: backoff is visible, OnFailure gives up after maxRetries', async () => {
    await applyContainer(instance, 'flaky', {
      command: ['sh', '-c', 'exit 1'],
      restartPolicy: 'OnFailure',
      maxRetries: 2,
    });
    const backoff = await waitForStatus(instance, 'flaky', (status) => readyOf(status)?.reason === 'BackOff');
    assert.match(readyOf(backoff)?.message ?? '', /\d{4}-\d\d-\d\dT|\d+(\.\d+)? ?(s|ms)/);
    const end = await waitForStatus(instance, 'flaky', ({ phase }) => phase === 'Failed', 60_000);
    assert.deepEqual([end.restartCount, end.exitCode], [2, 1]);
  });

  await t.test('desiredState Stopped, Running, Paused; restartedAt', async () => {
    await applyContainer(instance, 'state', { command: ['sleep', '1000000'], terminationGracePeriodSeconds: 1 });
    const first = await running('state');
    const patch = (spec: object): Promise<string> =>
      kubectlOk(['patch', 'ctr', 'state', '--type=merge', '-p', JSON.stringify({ spec })]);
    await patch({ desiredState: 'Paused' });
    await waitForStatus(instance, 'state', ({ phase }) => phase === 'Paused');
    await patch({ desiredState: 'Running' });
    assert.equal((await running('state')).startedAt, first.startedAt);
    await patch({ desiredState: 'Stopped' });
    await waitForStatus(instance, 'state', (status) => readyOf(status)?.reason === 'Stopped');
    await patch({ desiredState: 'Running' });
    const again = await running('state');
    await patch({ restartedAt: '2026-01-01T00:00:00Z' });
    await waitForStatus(
      instance,
      'state',
      (status) => readyOf(status)?.status === 'True' && status.containerID !== again.containerID,
    );
  });

  await t.test('another spec replaces the container behind the same object', async () => {
    const uid = await kubectlOk(['get', 'ctr', 'state', '-o', 'jsonpath={.metadata.uid}']);
    const before = await statusOf(instance, 'state');
    await kubectlOk(['patch', 'ctr', 'state', '--type=merge', '-p', '{"spec":{"env":[{"name":"NEW","value":"1"}]}}']);
    await waitForStatus(
      instance,
      'state',
      (status) => readyOf(status)?.status === 'True' && status.containerID !== before.containerID,
    );
    assert.equal(await kubectlOk(['get', 'ctr', 'state', '-o', 'jsonpath={.metadata.uid}']), uid);
    assert.equal((await kubectlOk(['exec', 'state', '--', 'sh', '-c', 'echo $NEW'])).trim(), '1');
  });

  await t.test('resources are limits, changed in place; OOMKilled is named', async () => {
    await applyContainer(instance, 'limited', {
      command: ['sleep', '1000000'],
      resources: { limits: { memory: '32Mi', cpu: '500m', pids: 50 } },
    });
    const before = await running('limited');
    const limitOf = async (): Promise<string> =>
      (
        await kubectlOk([
          'exec',
          'limited',
          '--',
          'sh',
          '-c',
          'cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max',
        ])
      ).trim();
    assert.equal(await limitOf(), String(32 * 2 ** 20));
    await kubectlOk([
      'patch',
      'ctr',
      'limited',
      '--type=merge',
      '-p',
      '{"spec":{"resources":{"limits":{"memory":"64Mi"}}}}',
    ]);
    await waitFor(async () => (await limitOf()) === String(64 * 2 ** 20), { what: 'the new memory limit' });
    assert.equal((await statusOf(instance, 'limited')).containerID, before.containerID);
    await applyContainer(instance, 'hungry', {
      command: ['sh', '-c', 'tail /dev/zero'],
      restartPolicy: 'Never',
      resources: { limits: { memory: '16Mi' } },
    });
    const killed = await waitForStatus(instance, 'hungry', ({ phase }) => phase === 'Failed');
    assert.deepEqual([killed.reason, killed.exitCode], ['OOMKilled', 137]);
  });

  await t.test('health checks: exec, http, tcp; an unhealthy container is restarted unless told not to', async () => {
    const probe = { intervalSeconds: 1, timeoutSeconds: 1, retries: 1, startIntervalSeconds: 1 };
    await applyContainer(instance, 'http-ok', {
      command: ['httpd', '-f', '-p', '80', '-h', '/etc'],
      healthCheck: { httpGet: { path: '/passwd', port: 80 }, ...probe },
    });
    await applyContainer(instance, 'tcp-ok', {
      command: ['httpd', '-f', '-p', '81', '-h', '/tmp'],
      healthCheck: { tcpSocket: { port: 81 }, ...probe },
    });
    await applyContainer(instance, 'exec-bad', {
      command: ['sh', '-c', 'touch /tmp/ok; exec sleep 1000000'],
      healthCheck: { exec: { command: ['test', '-f', '/tmp/ok'] }, ...probe },
      onUnhealthy: 'None',
    });
    for (const name of ['http-ok', 'tcp-ok', 'exec-bad'])
      assert.equal((await running(name)).health?.status?.toLowerCase(), 'healthy', name);
    await kubectlOk(['exec', 'exec-bad', '--', 'rm', '/tmp/ok']);
    const sick = await waitForStatus(instance, 'exec-bad', (status) => readyOf(status)?.reason === 'Unhealthy');
    assert.equal(sick.restartCount ?? 0, 0);
    await kubectlOk(['patch', 'ctr', 'exec-bad', '--type=merge', '-p', '{"spec":{"onUnhealthy":"Restart"}}']);
    await waitForStatus(
      instance,
      'exec-bad',
      (status) => (status.restartCount ?? 0) >= 1 && readyOf(status)?.status === 'True',
      40_000,
    );
  });

  await t.test('ttlSecondsAfterFinished removes it, terminationGracePeriodSeconds is kept to', async () => {
    await applyContainer(instance, 'short', { command: ['true'], restartPolicy: 'Never', ttlSecondsAfterFinished: 0 });
    await waitFor(async () => (await kubectl(['get', 'ctr', 'short'])).code === 1, {
      what: 'the removal',
      timeoutMs: 20_000,
    });
    await applyContainer(instance, 'stubborn', {
      command: ['sh', '-c', 'trap "" TERM; while true; do sleep 1; done'],
      terminationGracePeriodSeconds: 1,
    });
    await running('stubborn');
    await deleteContainers(instance, 'stubborn');
  });

  await t.test('securityContext: capabilities, read-only root, privileged; hostNetwork', async () => {
    const caps = (
      await runToEnd(instance, 'caps', {
        command: ['grep', 'CapEff', '/proc/self/status'],
        securityContext: { capabilities: { drop: ['ALL'], add: ['NET_BIND_SERVICE'] } },
      })
    ).output;
    assert.match(caps, /0000000000000400/);
    const readOnly = await runToEnd(instance, 'read-only', {
      command: ['touch', '/file'],
      securityContext: { readOnlyRootFilesystem: true },
    });
    assert.equal(readOnly.status.phase, 'Failed');
    const privileged = await runToEnd(instance, 'privileged', {
      command: ['sh', '-c', 'mount -t tmpfs none /mnt || mount -t tmpfs none /tmp && echo mounted'],
      securityContext: { privileged: true },
    });
    assert.match(privileged.output, /mounted/);
    const plain = await runToEnd(instance, 'plain', {
      command: ['sh', '-c', 'mount -t tmpfs none /tmp || echo refused'],
    });
    assert.match(plain.output, /refused/);
    const host = await runToEnd(instance, 'host-network', {
      command: ['sh', '-c', 'ls /sys/class/net | wc -l; ip addr show lo | head -1'],
      hostNetwork: true,
    });
    assert.equal(host.status.phase, 'Succeeded');
    assert.ok(Number(host.output.split('\n')[0]) > 1, host.output);
  });

  await t.test('tty and stdin', async () => {
    await applyContainer(instance, 'terminal', {
      command: ['sh', '-c', 'tty; exec sleep 1000000'],
      tty: true,
      stdin: true,
    });
    await running('terminal');
    assert.match(await kubectlOk(['logs', 'terminal']), /\/dev\/(pts\/0|console)/);
  });

  await t.test('dependsOn waits for another container', async () => {
    await applyContainer(instance, 'dependent', {
      command: ['sleep', '1000000'],
      dependsOn: [{ kind: 'Container', name: 'base', condition: 'Started' }],
    });
    const waiting = await waitForStatus(instance, 'dependent', (status) => readyOf(status) !== undefined);
    assert.equal(waiting.phase, 'Pending');
    assert.match(readyOf(waiting)?.message ?? '', /base/);
    await applyContainer(instance, 'base', { command: ['sleep', '1000000'] });
    await running('dependent');
  });

  await t.test('dependsOn waits for a Service whose replica is on another node', async () => {
    await applyContainer(instance, 'client', {
      command: ['sleep', '1000000'],
      dependsOn: [{ kind: 'Service', name: 'db', condition: 'Healthy' }],
    });
    const reasonIs = (reason: string) =>
      waitForStatus(instance, 'client', (status) => readyOf(status)?.reason === reason);
    await reasonIs('DependencyNotFound');
    await instance.apply(`
apiVersion: windlass.dev/v1
kind: Service
metadata: { name: db }
spec:
  template: { spec: { image: busybox, placement: { constraints: [node.name == n2] } } }`);
    assert.equal(readyOf(await reasonIs('WaitingForDependency'))?.message, 'service "db" is not Healthy yet');
    await using other = await startPretendAgent(instance.kubeconfig, 'n2');
    await running('client');
    assert.equal(other.seen.size, 1);
    assert.notEqual(await kubectlOk(['get', 'ctr', 'client', '-o', 'jsonpath={.spec.nodeName}']), 'n2');
    await kubectlOk(['delete', 'services.windlass.dev/db', '--timeout=30s']);
  });
});
