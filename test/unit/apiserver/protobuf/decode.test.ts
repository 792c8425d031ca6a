import { deepEqual, equal, throws } from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import protobuf from 'protobufjs';
import { decodeProtobuf } from '../../../../apiserver/protobuf/decode.ts';

// Bodies as kubectl 1.32 sent them, in base64.
const captured = JSON.parse(readFileSync(new URL('kubectl-1.32.json', import.meta.url), 'utf8')) as Record<
  string,
  string
>;
const decoded = (kind: string): unknown => decodeProtobuf(Buffer.from(captured[kind] ?? '', 'base64'));

const RBAC = 'rbac.authorization.k8s.io';
const EXPECTED: Record<string, object> = {
  Namespace: { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'web' } },
  Secret: { apiVersion: 'v1', kind: 'Secret', metadata: { name: 's' }, data: { password: 'cHc=' } },
  ServiceAccount: { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'robot' } },
  Role: {
    apiVersion: `${RBAC}/v1`,
    kind: 'Role',
    metadata: { name: 'r' },
    rules: [{ verbs: ['get', 'list'], apiGroups: [''], resources: ['pods', 'configmaps'] }],
  },
  RoleBinding: {
    apiVersion: `${RBAC}/v1`,
    kind: 'RoleBinding',
    metadata: { name: 'rb' },
    subjects: [
      { kind: 'User', apiGroup: RBAC, name: 'ann' },
      { kind: 'ServiceAccount', name: 'robot', namespace: 'default' },
    ],
    roleRef: { apiGroup: RBAC, kind: 'ClusterRole', name: 'view' },
  },
  TokenRequest: {
    apiVersion: 'authentication.k8s.io/v1',
    kind: 'TokenRequest',
    metadata: {},
    spec: { audiences: ['x'], expirationSeconds: 600 },
  },
  SelfSubjectAccessReview: {
    apiVersion: 'authorization.k8s.io/v1',
    kind: 'SelfSubjectAccessReview',
    metadata: {},
    spec: { resourceAttributes: { namespace: 'web', verb: 'list', resource: 'pods' } },
  },
  SelfSubjectRulesReview: {
    apiVersion: 'authorization.k8s.io/v1',
    kind: 'SelfSubjectRulesReview',
    metadata: {},
    spec: { namespace: 'web' },
  },
  SelfSubjectReview: { apiVersion: 'authentication.k8s.io/v1', kind: 'SelfSubjectReview', metadata: {} },
};
for (const [kind, expected] of Object.entries(EXPECTED)) {
  test(`decodeProtobuf() reads kubectl's ${kind}`, () => deepEqual(decoded(kind), expected));
}

test('decodeProtobuf() keeps bytes, and keys that every object inherits', () => {
  const map = decoded('ConfigMap') as { data: object; binaryData: object };
  deepEqual(
    Object.entries(map.data).toSorted(([a], [b]) => (a < b ? -1 : 1)),
    [
      ['__proto__', 'x'],
      ['a', '1'],
    ],
  );
  deepEqual(map.binaryData, { bin: 'AP8B' });
});

const folder = new URL('../../../../apiserver/protobuf/', import.meta.url);
const root = new protobuf.Root();
root.loadSync(
  ['meta', 'core', 'coordination', 'events', 'autoscaling', 'policy', 'apiextensions'].map((name) =>
    fileURLToPath(new URL(`${name}.proto`, folder)),
  ),
  { keepCase: true },
);
/** A body as a Go client would make it of `message`. */
function encode(apiVersion: string, kind: string, type: string, message: object): Buffer {
  const object = root.lookupType(type);
  const raw = object.encode(object.fromObject(message)).finish();
  const unknown = root.lookupType('meta.v1.Unknown');
  const envelope = unknown.encode(unknown.fromObject({ typeMeta: { apiVersion, kind }, raw })).finish();
  return Buffer.concat([Buffer.from('k8s\0'), envelope]);
}
const raw = (value: unknown): { raw: string } => ({ raw: Buffer.from(JSON.stringify(value)).toString('base64') });

test('decodeProtobuf() writes times as RFC 3339, micro times with six digits', () => {
  const spec = { holderIdentity: 'me', leaseTransitions: 0, renewTime: { seconds: 1_800_000_000, nanos: 1_500_000 } };
  deepEqual(
    decodeProtobuf(
      encode('coordination.k8s.io/v1', 'Lease', 'coordination.v1.Lease', {
        metadata: { name: 'x', creationTimestamp: { seconds: 0 } },
        spec,
      }),
    ),
    {
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata: { name: 'x' },
      spec: { holderIdentity: 'me', leaseTransitions: 0, renewTime: '2027-01-15T08:00:00.001500Z' },
    },
  );
  const event = { lastTimestamp: { seconds: 1_800_000_000 }, count: 0, involvedObject: { kind: 'Pod' } };
  const made = decodeProtobuf(encode('v1', 'Event', 'core.v1.Event', event));
  equal(made['lastTimestamp'], '2027-01-15T08:00:00Z');
  equal(made['count'], undefined);
});

test('decodeProtobuf() tells the Events of the two groups apart', () => {
  const event = { note: 'n', regarding: { kind: 'Pod', name: 'p' }, eventTime: { seconds: 1_800_000_000 } };
  deepEqual(decodeProtobuf(encode('events.k8s.io/v1', 'Event', 'events.v1.Event', event)), {
    apiVersion: 'events.k8s.io/v1',
    kind: 'Event',
    metadata: {},
    note: 'n',
    regarding: { kind: 'Pod', name: 'p' },
    eventTime: '2027-01-15T08:00:00.000000Z',
  });
});

test('decodeProtobuf() keeps zeros that mean something', () => {
  const scale = decodeProtobuf(encode('autoscaling/v1', 'Scale', 'autoscaling.v1.Scale', { spec: { replicas: 0 } }));
  deepEqual(scale['spec'], { replicas: 0 });
  const options = { gracePeriodSeconds: 0, propagationPolicy: 'Background', preconditions: { uid: 'u' } };
  deepEqual(decodeProtobuf(encode('v1', 'DeleteOptions', 'meta.v1.DeleteOptions', options)), {
    apiVersion: 'v1',
    kind: 'DeleteOptions',
    ...options,
  });
});

test('decodeProtobuf() tells a limit of 0 and a selector of everything from none', () => {
  const read = (spec: object): unknown =>
    decodeProtobuf(
      encode('policy/v1', 'PodDisruptionBudget', 'policy.v1.PodDisruptionBudget', { metadata: { name: 'x' }, spec }),
    )['spec'];
  deepEqual(read({ maxUnavailable: { type: 0, intVal: 0 }, selector: {} }), { maxUnavailable: 0, selector: {} });
  deepEqual(read({ minAvailable: { type: 1, strVal: '50%' } }), { minAvailable: '50%' });
});

test('decodeProtobuf() reads the schema of a CustomResourceDefinition', () => {
  const schema = {
    type: 'object',
    properties: {
      a: { type: 'integer', maximum: 0, default: raw(5), enum: [raw(5), raw('x')] },
      list: { type: 'array', items: { schema: { type: 'string' } }, xKubernetesListType: 'set' },
      map: { type: 'object', additionalProperties: { schema: { xKubernetesPreserveUnknownFields: true } } },
      closed: { additionalProperties: { allows: false }, xKubernetesIntOrString: true },
    },
    xKubernetesValidations: [{ rule: 'true' }],
  };
  const version = {
    name: 'v1',
    served: false,
    storage: true,
    schema: { openAPIV3Schema: schema },
    subresources: { status: {} },
  };
  const crd = decodeProtobuf(
    encode('apiextensions.k8s.io/v1', 'CustomResourceDefinition', 'apiextensions.v1.CustomResourceDefinition', {
      spec: { versions: [version] },
    }),
  );
  deepEqual(crd['spec'], {
    versions: [
      {
        name: 'v1',
        served: false,
        storage: true,
        schema: {
          openAPIV3Schema: {
            type: 'object',
            properties: {
              a: { type: 'integer', maximum: 0, default: 5, enum: [5, 'x'] },
              list: { type: 'array', items: { type: 'string' }, 'x-kubernetes-list-type': 'set' },
              map: { type: 'object', additionalProperties: { 'x-kubernetes-preserve-unknown-fields': true } },
              closed: { additionalProperties: false, 'x-kubernetes-int-or-string': true },
            },
            'x-kubernetes-validations': [{ rule: 'true' }],
          },
        },
        subresources: { status: {} },
      },
    ],
  });
});

test('decodeProtobuf() refuses what is not a body of a known kind', () => {
  throws(() => decodeProtobuf(Buffer.from('{}')), /does not appear to be a protobuf message/);
  throws(() => decodeProtobuf(Buffer.from('k8s\0')), /no kind "" is registered/);
  throws(() => decoded('Deployment'), /no kind "Deployment" is registered for version "apps\/v1"/);
  throws(() => decodeProtobuf(Buffer.concat([Buffer.from('k8s\0'), Buffer.alloc(100, 0xff)])), /unable to decode/);
  for (const kind of ['__proto__', 'ObjectMeta', '../x', 'NamespaceSpec']) {
    throws(() => decodeProtobuf(encode('v1', kind, 'core.v1.Namespace', {})), /no kind/);
  }
  const truncated = Buffer.from(captured['Role'] ?? '', 'base64').subarray(0, -5);
  throws(() => decodeProtobuf(truncated), /unable to decode/);
});
