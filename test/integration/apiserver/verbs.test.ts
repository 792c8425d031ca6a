import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { startTestApiserver, type TestApiserver, type TestResponse } from '../../support/apiserver.ts';
import { waitFor } from '../../support/wait.ts';

interface Status {
  readonly kind: string;
  readonly message: string;
  readonly reason: string;
  readonly code: number;
  readonly details?: { readonly causes?: readonly { reason: string; field?: string; message: string }[] };
}
interface Shown {
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly uid: string;
    readonly resourceVersion: string;
    readonly generation?: number;
    readonly deletionTimestamp?: string;
    readonly finalizers?: readonly string[];
  };
  readonly spec: Record<string, unknown>;
  readonly status?: Record<string, unknown>;
  readonly data?: Record<string, string>;
}

const MAPS = '/api/v1/namespaces/default/configmaps';
const CONTAINERS = '/apis/windlass.dev/v1/namespaces/default/containers';
const SERVICES = '/apis/windlass.dev/v1/namespaces/default/services';
const MERGE = { 'content-type': 'application/merge-patch+json' };
const JSON_PATCH = { 'content-type': 'application/json-patch+json' };

const container = (name: string, more: object = {}) => ({
  apiVersion: 'windlass.dev/v1',
  kind: 'Container',
  metadata: { name },
  spec: { image: 'busybox', ...more },
});

describe('verbs', () => {
  let api: TestApiserver;
  before(async () => {
    api = await startTestApiserver();
  });
  after(() => api[Symbol.asyncDispose]());

  const refuse = (response: TestResponse, code: number, reason: string, message: RegExp): Status => {
    const status = response.json<Status>();
    assert.deepEqual(
      [response.status, status.kind, status.code, status.reason],
      [code, 'Status', code, reason],
      response.text,
    );
    assert.match(status.message, message);
    return status;
  };

  it('refuses bad values with the path of the field, in upstream words', async () => {
    const body = container('bad', { ports: [{ containerPort: 80 }, { containerPort: 81, hostPort: 70000 }] });
    const status = refuse(
      await api.request('POST', CONTAINERS, { body }),
      422,
      'Invalid',
      /^Container\.windlass\.dev "bad" is invalid: spec\.ports\[1\]\.hostPort: Invalid value: 70000: .*should be less than or equal to 65535/,
    );
    assert.equal(status.details?.causes?.[0]?.field, 'spec.ports[1].hostPort');
    refuse(
      await api.request('POST', CONTAINERS, { body: container('Bad_Name') }),
      422,
      'Invalid',
      /metadata\.name: Invalid value: "Bad_Name": a lowercase RFC 1123 subdomain must consist/,
    );
    refuse(
      await api.request('POST', CONTAINERS, { body: { spec: { image: 'x' } } }),
      422,
      'Invalid',
      /metadata\.name: Required value: name or generateName is required/,
    );
    refuse(
      await api.request('POST', CONTAINERS, { body: { ...container('l'), metadata: { name: 'l', labels: { a: 1 } } } }),
      400,
      'BadRequest',
      /metadata\.labels\[a\] must be a string/,
    );
    refuse(
      await api.request('POST', CONTAINERS, { body: { ...container('k'), kind: 'Pod' } }),
      400,
      'BadRequest',
      /cannot be handled as a Container/,
    );
    refuse(await api.request('POST', CONTAINERS, { body: '{"a":' }), 400, 'BadRequest', /json parse error/);
    refuse(await api.request('POST', CONTAINERS, { body: '[]' }), 400, 'BadRequest', /not an object/);
  });

  it('treats unknown and duplicate fields as the request says', async () => {
    const body = '{"metadata":{"name":"fields"},"spec":{"image":"a","image":"busybox","imagee":"x"}}';
    refuse(
      await api.request('POST', `${CONTAINERS}?fieldValidation=Strict`, { body }),
      400,
      'BadRequest',
      /strict decoding error: duplicate field "spec\.image", unknown field "spec\.imagee"/,
    );
    const warned = await api.request('POST', `${CONTAINERS}?fieldValidation=Warn&dryRun=All`, { body });
    assert.equal(warned.status, 201);
    assert.match(
      String(warned.headers['warning']),
      /299 - "duplicate field \\"spec\.image\\"".*299 - "unknown field \\"spec\.imagee\\""/,
    );
    const ignored = await api.request('POST', `${CONTAINERS}?fieldValidation=Ignore`, { body });
    assert.equal(ignored.headers['warning'], undefined);
    assert.equal(ignored.json<Shown>().spec['imagee'], undefined);
    refuse(
      await api.request('POST', `${CONTAINERS}?fieldValidation=Sometimes`, { body }),
      422,
      'Invalid',
      /fieldValidation: Unsupported value/,
    );
    const yaml = 'metadata:\n  name: y\nspec:\n  image: a\n  image: b\n';
    refuse(
      await api.request('POST', `${CONTAINERS}?fieldValidation=Strict`, {
        body: yaml,
        headers: { 'content-type': 'application/yaml' },
      }),
      400,
      'BadRequest',
      /duplicate field "spec\.image"/,
    );
  });

  it('creates with a generated name and tells names apart', async () => {
    const body = { metadata: { generateName: 'gen-' } };
    const names = await Promise.all(
      [1, 2, 3].map(async () => (await api.request('POST', MAPS, { body })).json<Shown>().metadata.name),
    );
    assert.equal(new Set(names).size, 3);
    for (const name of names) assert.match(name, /^gen-[a-z0-9]{5}$/);
  });

  it('runs a dry run through everything but the store', async () => {
    const made = await api.request('POST', `${MAPS}?dryRun=All`, { body: { metadata: { name: 'dry' } } });
    assert.equal(made.status, 201);
    refuse(await api.request('GET', `${MAPS}/dry`), 404, 'NotFound', /^configmaps "dry" not found$/);
    refuse(await api.request('POST', `${MAPS}?dryRun=Some`, { body: {} }), 422, 'Invalid', /dryRun: Unsupported value/);
    await api.request('POST', MAPS, { body: { metadata: { name: 'wet' } } });
    await api.request('DELETE', `${MAPS}/wet`, { body: { dryRun: ['All'] } });
    assert.equal((await api.request('GET', `${MAPS}/wet`)).status, 200);
    refuse(
      await api.request('POST', `${MAPS}?dryRun=All`, { body: { metadata: { name: 'wet' } } }),
      409,
      'AlreadyExists',
      /already exists/,
    );
  });

  it('keeps the version of a write that changes nothing and refuses one on an old version', async () => {
    const made = (
      await api.request('POST', MAPS, { body: { metadata: { name: 'put' }, data: { a: '1' } } })
    ).json<Shown>();
    const same = (await api.request('PUT', `${MAPS}/put`, { body: made })).json<Shown>();
    assert.equal(same.metadata.resourceVersion, made.metadata.resourceVersion);
    const next = (await api.request('PUT', `${MAPS}/put`, { body: { ...made, data: { a: '2' } } })).json<Shown>();
    assert.notEqual(next.metadata.resourceVersion, made.metadata.resourceVersion);
    refuse(
      await api.request('PUT', `${MAPS}/put`, { body: made }),
      409,
      'Conflict',
      /Operation cannot be fulfilled on configmaps "put": the object has been modified/,
    );
    const stale = { metadata: { resourceVersion: made.metadata.resourceVersion, labels: { a: 'b' } } };
    refuse(
      await api.request('PATCH', `${MAPS}/put`, { body: stale, headers: MERGE }),
      409,
      'Conflict',
      /has been modified/,
    );
    refuse(
      await api.request('PUT', `${MAPS}/none`, { body: { metadata: { name: 'none' } } }),
      404,
      'NotFound',
      /not found/,
    );
    refuse(
      await api.request('PUT', `${MAPS}/put`, { body: { metadata: { name: 'other' } } }),
      400,
      'BadRequest',
      /does not match the name on the URL/,
    );
  });

  it('patches by merge and by operations, and refuses what it does not take by name', async () => {
    await api.request('POST', CONTAINERS, { body: container('patched', { env: [{ name: 'A', value: '1' }] }) });
    const path = `${CONTAINERS}/patched`;
    const merged = await api.request('PATCH', path, { body: { spec: { env: null, tty: true } }, headers: MERGE });
    assert.equal(merged.json<Shown>().spec['env'], undefined);
    const operated = await api.request('PATCH', path, {
      body: [{ op: 'replace', path: '/spec/tty', value: false }],
      headers: JSON_PATCH,
    });
    assert.equal(operated.json<Shown>().spec['tty'], false);
    refuse(
      await api.request('PATCH', path, { body: [{ op: 'test', path: '/spec/tty', value: true }], headers: JSON_PATCH }),
      422,
      'Invalid',
      /rejected/,
    );
    refuse(
      await api.request('PATCH', path, {
        body: {},
        headers: { 'content-type': 'application/strategic-merge-patch+json' },
      }),
      415,
      'UnsupportedMediaType',
      /accepted media types include/,
    );
    refuse(
      await api.request('PATCH', path, { body: {}, headers: { 'content-type': 'application/apply-patch+yaml' } }),
      415,
      'UnsupportedMediaType',
      /server-side apply .* is not supported yet/,
    );
    refuse(
      await api.request('PATCH', path, { body: { spec: { tty: 'yes' } }, headers: MERGE }),
      422,
      'Invalid',
      /spec\.tty/,
    );
    const polluted = await api.request('PATCH', `${CONTAINERS}/patched`, {
      body: '{"__proto__":{"polluted":true}}',
      headers: MERGE,
    });
    assert.ok(polluted.status < 500);
    assert.equal(({} as { polluted?: boolean }).polluted, undefined);
  });

  it('keeps spec and status apart and counts generations of the spec', async () => {
    const path = `${CONTAINERS}/apart`;
    const made = await api.request('POST', CONTAINERS, {
      body: { ...container('apart'), status: { phase: 'Running' } },
    });
    assert.equal(made.json<Shown>().status, undefined);
    assert.equal(made.json<Shown>().metadata.generation, 1);
    const reported = await api.request('PATCH', `${path}/status`, {
      body: { spec: { image: 'other' }, status: { phase: 'Running' } },
      headers: MERGE,
    });
    assert.equal(reported.json<Shown>().spec['image'], 'busybox');
    assert.deepEqual(reported.json<Shown>().status?.['phase'], 'Running');
    assert.equal(reported.json<Shown>().metadata.generation, 1);
    const changed = await api.request('PATCH', path, {
      body: { spec: { tty: true }, status: { phase: 'Failed' } },
      headers: MERGE,
    });
    assert.equal(changed.json<Shown>().status?.['phase'], 'Running');
    assert.equal(changed.json<Shown>().metadata.generation, 2);
    const labelled = await api.request('PATCH', path, { body: { metadata: { labels: { a: 'b' } } }, headers: MERGE });
    assert.equal(labelled.json<Shown>().metadata.generation, 2);
  });

  it('waits with a deletion until the finalizers are gone', async () => {
    const path = `${CONTAINERS}/held`;
    const body = { ...container('held'), metadata: { name: 'held', finalizers: ['windlass.dev/node'] } };
    const { uid } = (await api.request('POST', CONTAINERS, { body })).json<Shown>().metadata;
    refuse(
      await api.request('DELETE', path, { body: { preconditions: { uid: 'other' } } }),
      409,
      'Conflict',
      /Precondition failed: UID in precondition: other/,
    );
    const marked = (
      await api.request('DELETE', path, { body: { preconditions: { uid }, gracePeriodSeconds: 3 } })
    ).json<Shown>();
    assert.ok(marked.metadata.deletionTimestamp);
    assert.equal(marked.metadata.generation, 2);
    refuse(
      await api.request('PATCH', path, {
        body: { metadata: { finalizers: ['windlass.dev/node', 'a.b/c'] } },
        headers: MERGE,
      }),
      422,
      'Invalid',
      /no new finalizers can be added if the object is being deleted/,
    );
    await api.request('PATCH', path, { body: { metadata: { finalizers: null } }, headers: MERGE });
    assert.equal((await api.request('GET', path)).status, 404);
  });

  it('marks the wanted propagation of a deletion by finalizers', async () => {
    for (const [policy, finalizer] of [
      ['Foreground', 'foregroundDeletion'],
      ['Orphan', 'orphan'],
    ] as const) {
      const name = policy.toLowerCase();
      await api.request('POST', MAPS, { body: { metadata: { name } } });
      const marked = await api.request('DELETE', `${MAPS}/${name}`, { body: { propagationPolicy: policy } });
      assert.deepEqual(marked.json<Shown>().metadata.finalizers, [finalizer]);
    }
    refuse(
      await api.request('DELETE', `${MAPS}/orphan?propagationPolicy=Sideways`),
      400,
      'BadRequest',
      /must be one of/,
    );
  });

  it('deletes collections by selector', async () => {
    for (const name of ['dc1', 'dc2', 'dc3']) {
      await api.request('POST', MAPS, { body: { metadata: { name, labels: { dc: name === 'dc3' ? 'no' : 'yes' } } } });
    }
    const gone = await api.request('DELETE', `${MAPS}?labelSelector=dc%3Dyes`);
    assert.equal(gone.json<{ items: unknown[] }>().items.length, 2);
    const left = await api.request('GET', `${MAPS}?labelSelector=dc`);
    assert.deepEqual(
      left.json<{ items: Shown[] }>().items.map((each) => each.metadata.name),
      ['dc3'],
    );
  });

  it('scales through the scale subresource', async () => {
    const body = { metadata: { name: 'scaled' }, spec: { replicas: 1, template: { spec: { image: 'busybox' } } } };
    const made = await api.request('POST', SERVICES, { body });
    assert.equal(made.status, 201, made.text);
    const path = `${SERVICES}/scaled/scale`;
    assert.deepEqual((await api.request('GET', path)).json<Shown>().spec, { replicas: 1 });
    const patched = await api.request('PATCH', path, { body: { spec: { replicas: 4 } }, headers: MERGE });
    assert.deepEqual(patched.json<Shown>().spec, { replicas: 4 });
    const scale = patched.json<Shown>();
    assert.equal((await api.request('PUT', path, { body: { ...scale, spec: { replicas: 2 } } })).status, 200);
    refuse(
      await api.request('PUT', path, { body: { ...scale, spec: { replicas: 3 } } }),
      409,
      'Conflict',
      /has been modified/,
    );
    refuse(
      await api.request('PATCH', path, { body: { spec: { replicas: -1 } }, headers: MERGE }),
      422,
      'Invalid',
      /greater than or equal to 0/,
    );
    assert.equal((await api.request('GET', `${SERVICES}/scaled`)).json<Shown>().spec['replicas'], 2);
  });

  it('selects by labels and fields, and refuses selectors it does not understand', async () => {
    const query = (text: string) => api.request('GET', `${MAPS}?${text}`);
    for (const name of ['sel1', 'sel2'])
      await api.request('POST', MAPS, { body: { metadata: { name, labels: { sel: name } } } });
    const names = async (text: string) =>
      (await query(text)).json<{ items: Shown[] }>().items.map((each) => each.metadata.name);
    assert.deepEqual(await names('labelSelector=sel+in+(sel1,other)'), ['sel1']);
    assert.deepEqual(await names('labelSelector=sel,sel!%3Dsel1'), ['sel2']);
    assert.deepEqual(await names('fieldSelector=metadata.name%3Dsel2'), ['sel2']);
    refuse(await query('labelSelector=a+b+c'), 400, 'BadRequest', /unable to parse/);
    refuse(await query('fieldSelector=spec.x%3D1'), 400, 'BadRequest', /field label not supported: spec\.x/);
    refuse(await query('limit=-1'), 400, 'BadRequest', /limit/);
    refuse(await query('continue=garbage'), 400, 'BadRequest', /continue key is not valid/);
    refuse(await query('resourceVersion=01'), 400, 'BadRequest', /resourceVersion/);
  });

  it('answers in the form the client reads', async () => {
    const get = (accept: string, path = MAPS) => api.request('GET', path, { headers: { accept } });
    const table = (await get('application/json;as=Table;v=v1;g=meta.k8s.io')).json<{
      kind: string;
      apiVersion: string;
    }>();
    assert.deepEqual([table.kind, table.apiVersion], ['Table', 'meta.k8s.io/v1']);
    const list = (await get('application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io')).json<{
      kind: string;
    }>();
    assert.equal(list.kind, 'PartialObjectMetadataList');
    assert.match((await get('application/yaml')).text, /^kind: ConfigMapList/);
    assert.equal((await get('application/vnd.kubernetes.protobuf,application/json')).status, 200);
    refuse(await get('application/vnd.kubernetes.protobuf'), 406, 'NotAcceptable', /only the following media types/);
    refuse(
      await api.request('POST', MAPS, { body: 'x', headers: { 'content-type': 'image/png' } }),
      415,
      'UnsupportedMediaType',
      /unknown format/,
    );
    assert.equal(
      (
        await api.request('POST', `${MAPS}?dryRun=All`, {
          body: 'metadata: {name: y}',
          headers: { 'content-type': 'application/yaml' },
        })
      ).status,
      201,
    );
  });

  it('refuses bodies and annotations that are too large', async () => {
    const big = { metadata: { name: 'big' }, data: { a: 'x'.repeat(4_000_000) } };
    refuse(await api.request('POST', MAPS, { body: big }), 413, 'RequestEntityTooLarge', /limit is 3145728/);
    const annotated = { metadata: { name: 'annotated', annotations: { a: 'x'.repeat(263_000) } } };
    refuse(
      await api.request('POST', MAPS, { body: annotated }),
      422,
      'Invalid',
      /metadata\.annotations: Too long: may not be more than 262144 bytes/,
    );
  });

  it('lets nobody in without a certificate, but shows health and version', async () => {
    refuse(await api.request('GET', MAPS, { as: null }), 401, 'Unauthorized', /Unauthorized/);
    refuse(await api.request('GET', '/metrics', { as: null }), 401, 'Unauthorized', /Unauthorized/);
    for (const path of ['/livez', '/readyz', '/healthz', '/version', '/livez/ping']) {
      assert.equal((await api.request('GET', path, { as: null })).status, 200, path);
    }
    assert.match((await api.request('GET', '/readyz?verbose')).text, /\[\+\]etcd ok/);
    const nobody = await api.issue('someone', []);
    refuse(
      await api.request('GET', MAPS, { as: nobody }),
      403,
      'Forbidden',
      /configmaps is forbidden: User "someone" cannot list resource "configmaps" in API group "" in the namespace "default"/,
    );
  });

  it('lets a node write only what is its own', async () => {
    const node = await api.issue('system:node:n1', ['system:nodes']);
    const as = (method: string, path: string, body?: unknown, headers = {}) =>
      api.request(method, path, { as: node, body, headers });
    assert.equal((await as('POST', '/api/v1/nodes', { metadata: { name: 'n1' } })).status, 201);
    refuse(
      await as('POST', '/api/v1/nodes', { metadata: { name: 'n2' } }),
      403,
      'Forbidden',
      /not allowed to write node "n2"/,
    );
    assert.equal((await as('GET', CONTAINERS)).status, 200);
    const secrets = '/api/v1/namespaces/default/secrets';
    for (const path of ['/api/v1/secrets', secrets, `${secrets}?watch=true`, `${secrets}/x?watch=true`]) {
      refuse(await as('GET', path), 403, 'Forbidden', /may only get secrets by their name/);
    }
    const maps = '/api/v1/namespaces/default/configmaps';
    refuse(await as('GET', maps), 403, 'Forbidden', /may only get configmaps by their name/);
    refuse(await as('GET', `${maps}/any`), 403, 'Forbidden', /no Container bound to node "n1" refers to it/);
    const uses = (name: string, nodeName: string, secretName: string) =>
      api.request('POST', CONTAINERS, {
        body: container(name, { nodeName, mounts: [{ mountPath: '/s', secret: { name: secretName } }] }),
      });
    await uses('uses-own', 'n1', 'own');
    await uses('uses-theirs', 'n2', 'theirs');
    for (const name of ['own', 'theirs']) await api.request('POST', secrets, { body: { metadata: { name } } });
    assert.equal((await as('GET', `${secrets}/own`)).status, 200);
    for (const name of ['theirs', 'unknown']) {
      refuse(await as('GET', `${secrets}/${name}`), 403, 'Forbidden', /no Container bound to node "n1" refers to it/);
    }
    await uses('uses-none', 'n1', 'none');
    refuse(await as('GET', `${secrets}/none`), 404, 'NotFound', /secrets "none" not found/);
    refuse(await as('POST', CONTAINERS, container('mine')), 403, 'Forbidden', /nodes may not create containers/);
    await api.request('POST', CONTAINERS, { body: container('bound', { nodeName: 'n1' }) });
    await api.request('POST', CONTAINERS, { body: container('foreign', { nodeName: 'n2' }) });
    const status = { status: { phase: 'Running' } };
    assert.equal((await as('PATCH', `${CONTAINERS}/bound/status`, status, MERGE)).status, 200);
    refuse(
      await as('PATCH', `${CONTAINERS}/foreign/status`, status, MERGE),
      403,
      'Forbidden',
      /not bound to node "n1"/,
    );
    refuse(
      await as('PATCH', `${CONTAINERS}/bound`, { spec: { tty: true } }, MERGE),
      403,
      'Forbidden',
      /may not change its spec/,
    );
    assert.equal(
      (await as('PATCH', `${CONTAINERS}/bound`, { metadata: { finalizers: ['windlass.dev/node'] } }, MERGE)).status,
      200,
    );
    const volumes = '/apis/windlass.dev/v1/namespaces/default/volumes';
    const volume = (name: string, nodeName: string) => ({ metadata: { name }, spec: { nodeName } });
    refuse(
      await as('POST', volumes, volume('here', 'n1')),
      403,
      'Forbidden',
      /only make the Volumes behind anonymous mounts/,
    );
    const { uid } = (await as('GET', `${CONTAINERS}/bound`)).json<Shown>().metadata;
    const anonymous = volume('bound-0123456789ab', 'n1');
    const labels = { 'windlass.dev/container-uid': uid };
    assert.equal(
      (await as('POST', volumes, { ...anonymous, metadata: { ...anonymous.metadata, labels } })).status,
      201,
    );
    refuse(await as('POST', volumes, volume('there', 'n2')), 403, 'Forbidden', /it is on node "n2"/);
    const wrongUid = { metadata: { uid: 'other' }, status };
    refuse(await as('PATCH', `${CONTAINERS}/bound/status`, wrongUid, MERGE), 409, 'Conflict', /UID in precondition/);
    const lease = (name: string) => ({ metadata: { name }, spec: { holderIdentity: 'n1' } });
    assert.equal(
      (await as('POST', '/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases', lease('n1'))).status,
      201,
    );
    refuse(
      await as('POST', '/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases', lease('n2')),
      403,
      'Forbidden',
      /its own leases/,
    );
  });

  it('creates nothing where there is no namespace, or where it is going away', async () => {
    refuse(
      await api.request('POST', '/api/v1/namespaces/none/configmaps', { body: { metadata: { name: 'a' } } }),
      404,
      'NotFound',
      /^namespaces "none" not found$/,
    );
    await api.request('POST', '/api/v1/namespaces', { body: { metadata: { name: 'leaving' } } });
    const marked = await api.request('DELETE', '/api/v1/namespaces/leaving');
    assert.equal(marked.json<Shown>().status?.['phase'], 'Terminating');
    await waitFor(async () => {
      const refused = await api.request('POST', '/api/v1/namespaces/leaving/configmaps', {
        body: { metadata: { name: 'a' } },
      });
      if (refused.status !== 403) return false;
      assert.equal(refused.json<Status>().details?.causes?.[0]?.reason, 'NamespaceTerminating');
      return true;
    });
    const finalized = await api.request('PUT', '/api/v1/namespaces/leaving/finalize', {
      body: { metadata: { name: 'leaving' }, spec: { finalizers: [] } },
    });
    assert.equal(finalized.status, 200, finalized.text);
    assert.equal((await api.request('GET', '/api/v1/namespaces/leaving')).status, 404);
    refuse(await api.request('DELETE', '/api/v1/namespaces/default'), 403, 'Forbidden', /may not be deleted/);
  });

  it('serves a CRD of a user like its own kinds, and takes its objects along when it goes', async () => {
    const definition = {
      metadata: { name: 'widgets.example.com' },
      spec: {
        group: 'example.com',
        scope: 'Cluster',
        names: { plural: 'widgets', kind: 'Widget', shortNames: ['wd'] },
        versions: [
          {
            name: 'v1',
            served: true,
            storage: true,
            schema: {
              openAPIV3Schema: {
                type: 'object',
                properties: { spec: { type: 'object', properties: { size: { type: 'integer', default: 3 } } } },
              },
            },
          },
          {
            name: 'v1beta1',
            served: true,
            storage: false,
            deprecated: true,
            schema: {
              openAPIV3Schema: {
                type: 'object',
                properties: { spec: { type: 'object', properties: { size: { type: 'integer' } } } },
              },
            },
          },
        ],
      },
    };
    const DEFINITIONS = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';
    const made = await api.request('POST', DEFINITIONS, { body: definition });
    assert.equal(made.status, 201, made.text);
    const widgets = '/apis/example.com/v1/widgets';
    await waitFor(async () => (await api.request('GET', widgets)).status === 200, { what: 'the new kind' });
    const widget = await api.request('POST', widgets, { body: { metadata: { name: 'w' }, spec: { extra: 1 } } });
    assert.deepEqual(widget.json<Shown>().spec, { size: 3 });
    const old = await api.request('GET', '/apis/example.com/v1beta1/widgets/w');
    assert.equal(old.json<{ apiVersion: string }>().apiVersion, 'example.com/v1beta1');
    const conditions = (await api.request('GET', `${DEFINITIONS}/widgets.example.com`)).json<Shown>().status?.[
      'conditions'
    ];
    assert.deepEqual(
      (conditions as { type: string; status: string }[]).map(({ type, status }) => [type, status]),
      [
        ['NamesAccepted', 'True'],
        ['Established', 'True'],
      ],
    );
    await api.request('DELETE', `${DEFINITIONS}/widgets.example.com`);
    await waitFor(async () => (await api.request('GET', `${DEFINITIONS}/widgets.example.com`)).status === 404, {
      what: 'the end of the CRD',
    });
    assert.equal((await api.request('GET', widgets)).status, 404);
  });

  it('shows objects that are older than a default of their CRD with that default', async () => {
    const sized = (more: object) => ({
      metadata: { name: 'gears.example.com' },
      spec: {
        group: 'example.com',
        scope: 'Cluster',
        names: { plural: 'gears', kind: 'Gear' },
        versions: [
          {
            name: 'v1',
            served: true,
            storage: true,
            schema: {
              openAPIV3Schema: {
                type: 'object',
                properties: { spec: { type: 'object', properties: { size: { type: 'integer', ...more } } } },
              },
            },
          },
        ],
      },
    });
    const definitions = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';
    const gears = '/apis/example.com/v1/gears';
    assert.equal((await api.request('POST', definitions, { body: sized({}) })).status, 201);
    await waitFor(async () => (await api.request('GET', gears)).status === 200, { what: 'the new kind' });
    const old = (await api.request('POST', gears, { body: { metadata: { name: 'old' }, spec: {} } })).json<Shown>();
    assert.deepEqual(old.spec, {});
    const changed = { body: { spec: sized({ default: 7 }).spec }, headers: MERGE };
    assert.equal((await api.request('PATCH', `${definitions}/gears.example.com`, changed)).status, 200);
    const read = async (): Promise<Shown> => (await api.request('GET', `${gears}/old`)).json<Shown>();
    await waitFor(async () => (await read()).spec['size'] === 7, { what: 'the default' });
    const [listed] = (await api.request('GET', gears)).json<{ items: Shown[] }>().items;
    assert.deepEqual(
      [listed?.spec, listed?.metadata.resourceVersion],
      [{ size: 7 }, old.metadata.resourceVersion],
      'nothing was written',
    );
    await api.request('DELETE', `${definitions}/gears.example.com`);
  });

  it('refuses metadata of the wrong shape on create and on update', async () => {
    const owner = { metadata: { name: 'shape', ownerReferences: [null] } };
    refuse(await api.request('POST', MAPS, { body: owner }), 400, 'BadRequest', /ownerReferences must be a list of/);
    assert.equal((await api.request('POST', MAPS, { body: { metadata: { name: 'shape' } } })).status, 201);
    for (const finalizers of [[5], ['not a name']]) {
      const patch = { body: { metadata: { finalizers } }, headers: MERGE };
      refuse(await api.request('PATCH', `${MAPS}/shape`, patch), 422, 'Invalid', /metadata.finalizers: Invalid value/);
    }
    refuse(await api.request('DELETE', `${MAPS}/shape`, { body: { dryRun: 'All' } }), 400, 'BadRequest', /dryRun/);
    assert.equal((await api.request('DELETE', `${MAPS}/shape`)).status, 200);
  });

  it('answers what nobody serves with a Status', async () => {
    refuse(
      await api.request('GET', '/apis/none.dev/v1/things'),
      404,
      'NotFound',
      /could not find the requested resource/,
    );
    refuse(await api.request('GET', '/nowhere'), 404, 'NotFound', /could not find/);
    refuse(await api.request('POST', `${MAPS}/a`), 405, 'MethodNotAllowed', /does not allow this method/);
    refuse(await api.request('GET', '/api/v1/configmaps/%zz'), 400, 'BadRequest', /not a valid url/);
    refuse(await api.request('GET', `${CONTAINERS}/x/log`), 404, 'NotFound', /could not find/);
  });

  it('counts its requests under upstream names', async () => {
    const { text } = await api.request('GET', '/metrics');
    assert.match(
      text,
      /apiserver_request_total\{verb="POST",dry_run="",group="windlass\.dev",version="v1",resource="containers",subresource="",scope="namespace",component="apiserver",code="201"\} \d/,
    );
    assert.match(text, /etcd_request_duration_seconds_count\{operation="create"\} \d/);
    assert.match(text, /apiserver_resource_objects\{group="windlass\.dev",resource="containers"\} \d/);
    const targets = (await api.request('GET', '/metrics/targets')).json<{ targets: string[] }[]>();
    assert.equal(`https://${targets[0]?.targets[0]}`, api.url);
  });
});
