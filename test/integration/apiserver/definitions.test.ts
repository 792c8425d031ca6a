// The life of custom resource definitions: names that two of them want, and the objects that outlive one.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { startTestApiserver, type TestApiserver } from '../../support/apiserver.ts';
import { waitFor } from '../../support/wait.ts';

const DEFINITIONS = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';
const MERGE = { 'content-type': 'application/merge-patch+json' };

interface Definition {
  readonly status?: { readonly conditions?: readonly { type: string; status: string; message: string }[] };
}

const definition = (plural: string, kind: string, more: object = {}) => ({
  apiVersion: 'apiextensions.k8s.io/v1',
  kind: 'CustomResourceDefinition',
  metadata: { name: `${plural}.ex.io` },
  spec: {
    group: 'ex.io',
    scope: 'Namespaced',
    names: { plural, kind },
    versions: [
      {
        name: 'v1',
        served: true,
        storage: true,
        schema: {
          openAPIV3Schema: {
            type: 'object',
            properties: { spec: { type: 'object', properties: { a: { type: 'string', nullable: true } } } },
          },
        },
        ...more,
      },
    ],
  },
});

describe('custom resource definitions', () => {
  let api: TestApiserver;
  before(async () => {
    api = await startTestApiserver();
  });
  after(() => api[Symbol.asyncDispose]());

  const objects = (plural: string): string => `/apis/ex.io/v1/namespaces/default/${plural}`;
  const conditionOf = async (plural: string, type: string) => {
    const { status } = (await api.request('GET', `${DEFINITIONS}/${plural}.ex.io`)).json<Definition>();
    return status?.conditions?.find((each) => each.type === type);
  };
  const isEstablished = async (plural: string): Promise<boolean> =>
    (await conditionOf(plural, 'Established'))?.status === 'True';
  const define = async (plural: string, kind: string, more: object = {}): Promise<void> => {
    const made = await api.request('POST', DEFINITIONS, { body: definition(plural, kind, more) });
    assert.equal(made.status, 201, made.text);
  };
  const established = (plural: string): Promise<unknown> =>
    waitFor(() => isEstablished(plural), { what: `${plural} being established` });

  it('gives a name to the next who wants it, once its holder is gone', async () => {
    await define('zebras', 'Horse');
    await established('zebras');
    await define('ponies', 'Horse');
    await waitFor(async () => (await conditionOf('ponies', 'NamesAccepted'))?.status === 'False', {
      what: 'the refusal of the name',
    });
    assert.match((await conditionOf('ponies', 'Established'))?.message ?? '', /"Horse" is already in use/);
    {
      await using restarted = await startTestApiserver({ etcd: api.etcd });
      // By name it comes second, but it was first.
      assert.equal((await restarted.request('GET', objects('zebras'))).status, 200);
      assert.equal((await restarted.request('GET', objects('ponies'))).status, 404);
    }
    await api.request('DELETE', `${DEFINITIONS}/zebras.ex.io`);
    await established('ponies');
    assert.equal((await api.request('GET', objects('ponies'))).status, 200);
  });

  it('takes nothing new while it is being deleted, and names what keeps it', async () => {
    await define('cats', 'Cat');
    await established('cats');
    await api.request('POST', objects('cats'), { body: { metadata: { name: 'tom', finalizers: ['ex.io/hold'] } } });
    await api.request('POST', objects('cats'), { body: { metadata: { name: 'kit' } } });
    await api.request('DELETE', `${DEFINITIONS}/cats.ex.io`);
    await waitFor(async () => (await conditionOf('cats', 'Terminating'))?.status === 'True', {
      what: 'the Terminating condition',
    });
    const { message } = (await conditionOf('cats', 'Terminating')) ?? assert.fail('no condition');
    assert.equal(message, 'still there: default/tom (finalizers: ex.io/hold)');
    const refused = await api.request('POST', objects('cats'), { body: { metadata: { name: 'new' } } });
    assert.deepEqual(
      [refused.status, refused.json<{ message: string }>().message],
      [405, 'create not allowed while custom resource definition is terminating'],
    );
    const released = { body: { metadata: { finalizers: null } }, headers: MERGE };
    await api.request('PATCH', `${objects('cats')}/tom`, released);
    await waitFor(async () => (await api.request('GET', `${DEFINITIONS}/cats.ex.io`)).status === 404, {
      what: 'the end of the definition',
    });
  });

  it('keeps a null where the schema allows one', async () => {
    await define('dogs', 'Dog');
    await established('dogs');
    const made = await api.request('POST', objects('dogs'), { body: { metadata: { name: 'rex' }, spec: { a: null } } });
    assert.deepEqual(made.json<{ spec: object }>().spec, { a: null });
    const read = (await api.request('GET', `${objects('dogs')}/rex`)).json<{ spec: object }>();
    assert.deepEqual(read.spec, { a: null });
  });

  it('warns of a deprecated version whatever is asked of it', async () => {
    await define('owls', 'Owl', { deprecated: true });
    await established('owls');
    const expected = '299 - "ex.io/v1 Owl is deprecated"';
    const body = { metadata: { name: 'eve' } };
    const answers = [
      await api.request('POST', objects('owls'), { body }),
      await api.request('GET', objects('owls')),
      await api.request('GET', `${objects('owls')}/eve`),
      await api.request('DELETE', `${objects('owls')}/eve`),
    ];
    for (const { headers, status } of answers) assert.deepEqual([status < 300, headers['warning']], [true, expected]);
  });

  it('lets the status of an object be written that a newer schema refuses, and nothing else that is wrong', async () => {
    const schemaOf = (spec: object) => ({
      schema: {
        openAPIV3Schema: {
          type: 'object',
          properties: {
            spec: { type: 'object', properties: { mode: { type: 'string', ...spec }, size: { type: 'integer' } } },
            status: { type: 'object', properties: { count: { type: 'integer' } } },
          },
        },
      },
      subresources: { status: {} },
    });
    await define('tightens', 'Tighten', schemaOf({}));
    await established('tightens');
    const path = `${objects('tightens')}/t1`;
    const body = { apiVersion: 'ex.io/v1', kind: 'Tighten', metadata: { name: 't1' }, spec: { mode: 'old', size: 1 } };
    const made = await waitFor(
      async () => {
        const answer = await api.request('POST', objects('tightens'), { body });
        return answer.status === 201 ? answer : undefined;
      },
      { what: 'the first object' },
    );
    assert.equal(made.status, 201);
    const tighter = definition('tightens', 'Tighten', schemaOf({ enum: ['new'] })).spec;
    await api.request('PATCH', `${DEFINITIONS}/tightens.ex.io`, { body: { spec: tighter }, headers: MERGE });
    const patch = (at: string, fields: object) => api.request('PATCH', at, { body: fields, headers: MERGE });
    await waitFor(
      async () => (await patch(`${path}?dryRun=All`, { spec: { mode: 'other' } })).status === 422 || undefined,
      {
        what: 'the newer schema',
      },
    );
    const written = await patch(`${path}/status`, { status: { count: 1 } });
    assert.equal(written.status, 200, written.text);
    assert.equal((await patch(`${path}/status`, { status: { count: 'x' } })).status, 422);
    assert.equal((await patch(path, { spec: { size: 2 } })).status, 200);
    const now = (await api.request('GET', path)).json<{ spec: object; status: object }>();
    assert.deepEqual([now.spec, now.status], [{ mode: 'old', size: 2 }, { count: 1 }]);
    await api.request('DELETE', path);
  });
});
