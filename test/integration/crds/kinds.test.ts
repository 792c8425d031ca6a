// The five kinds as the real API server serves them: what the documents and manifests of this repository hold is taken,
// and what can never work is refused with the path of the field.
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { parse, parseAllDocuments } from 'yaml';
import { collectionPath } from '../../../client/api-client.ts';
import { nodeKind } from '../../../crds/builtin.ts';
import { disruptionBudgetKind } from '../../../crds/disruption-budget.ts';
import { KINDS, containerKind, networkKind, serviceKind, volumeKind } from '../../../crds/index.ts';
import type { CustomKind } from '../../../crds/kind.ts';
import { startTestApiserver, type TestApiserver } from '../../support/apiserver.ts';

const ROOT = join(import.meta.dirname, '../../..');
let server: TestApiserver;

before(async () => {
  server = await startTestApiserver();
});

after(() => server?.[Symbol.asyncDispose]());

interface Answer {
  message?: string;
  spec?: Record<string, unknown>;
  details?: { causes?: { field: string; message: string }[] };
}

async function post(
  kind: CustomKind,
  object: unknown,
  namespace = 'default',
): Promise<{ status: number; body: Answer }> {
  const { status, json } = await server.request('POST', `${collectionPath(kind, namespace)}?fieldValidation=Strict`, {
    body: object,
    headers: { 'content-type': 'application/json' },
  });
  return { status, body: json() as Answer };
}

test('every document and manifest with our kinds is taken, with strict field validation', async () => {
  const files = globSync(['docs/api/*.yaml', 'manifests/quickstart.yaml', 'manifests/examples/*.yaml'], { cwd: ROOT });
  assert.ok(files.length > 15);
  for (const file of files.toSorted()) {
    const namespace = file.replaceAll(/[^a-z]+/g, '-');
    const made = await server.request('POST', '/api/v1/namespaces', {
      body: { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } },
      headers: { 'content-type': 'application/json' },
    });
    assert.equal(made.status, 201, made.text);
    for (const document of parseAllDocuments(readFileSync(join(ROOT, file), 'utf8'), { version: '1.1' })) {
      const object = document.toJS() as { kind: string; apiVersion: string };
      const kind = KINDS.find((candidate) => candidate.kind === object.kind);
      if (!kind || !object.apiVersion.startsWith(kind.group)) continue;
      const { status, body } = await post(kind, object, namespace);
      assert.equal(status, 201, `${file}: ${body.message}`);
    }
  }
});

test('what docs/api shows of built-in kinds is taken, with strict field validation', async () => {
  for (const [file, kind] of Object.entries({
    'node.yaml': nodeKind,
    'pod-disruption-budget.yaml': disruptionBudgetKind,
  })) {
    const object: unknown = parse(readFileSync(join(ROOT, 'docs/api', file), 'utf8'));
    const path = `${collectionPath(kind, kind.namespaced ? 'default' : undefined)}?fieldValidation=Strict`;
    const answer = await server.request('POST', path, {
      body: object,
      headers: { 'content-type': 'application/json' },
    });
    assert.equal(answer.status, 201, `${file}: ${answer.text}`);
  }
});

test('an object without spec is complete where nothing is required, and refused where something is', async () => {
  const bare = (kind: CustomKind): object => ({
    apiVersion: 'windlass.dev/v1',
    kind: kind.kind,
    metadata: { name: 'bare' },
  });
  assert.deepEqual((await post(volumeKind, bare(volumeKind))).body.spec, { driver: 'local', reclaimPolicy: 'Delete' });
  assert.equal((await post(networkKind, bare(networkKind))).status, 201);
  for (const kind of [containerKind, serviceKind]) {
    const { status, body } = await post(kind, bare(kind));
    assert.equal(status, 422);
    assert.match(body.message ?? '', /spec: Required value/);
  }
});

test('what can never work is refused with the path of the field, and nothing is stored', async () => {
  const refused: [object, string, RegExp][] = [
    [
      { image: 'x', ports: [{ containerPort: 1 }, { containerPort: 80, hostPort: 70000 }] },
      'spec.ports[1].hostPort',
      /Invalid value: 70000.*less than or equal to 65535/,
    ],
    [{ image: 'x', imageName: 'y' }, 'spec.image', /exactly one of image and imageName/],
    [{}, 'spec.image', /exactly one of image and imageName/],
    [{ image: 'Foo//bar' }, 'spec.image', /Invalid value: "Foo\/\/bar": malformed image reference/],
    [{ image: 'x', tty: 'yes' }, 'spec.tty', /must be of type boolean/],
    [{ image: 'x', mounts: [{ mountPath: '/a', volume: 'a', tmpfs: {} }] }, 'spec.mounts[0]', /at most one of volume/],
    [{ image: 'x', hostNetwork: true, networks: [{ name: 'a' }] }, 'spec.networks', /hostNetwork is true/],
  ];
  for (const [spec, field, message] of refused) {
    const object = { apiVersion: 'windlass.dev/v1', kind: 'Container', metadata: { name: 'refused' }, spec };
    const { status, body } = await post(containerKind, object);
    assert.equal(status, 422, JSON.stringify(spec));
    const [cause] = body.details?.causes ?? [];
    assert.equal(cause?.field, field);
    assert.match(cause?.message ?? '', message);
  }
  const unknown = {
    apiVersion: 'windlass.dev/v1',
    kind: 'Container',
    metadata: { name: 'refused' },
    spec: { image: 'x', colour: 1 },
  };
  const { status, body } = await post(containerKind, unknown);
  assert.equal(status, 400);
  assert.match(body.message ?? '', /unknown field "spec\.colour"/);
  assert.equal((await server.request('GET', `${collectionPath(containerKind, 'default')}/refused`)).status, 404);
});
