import { deepEqual, equal, throws } from 'node:assert/strict';
import { test } from 'node:test';
import type { Resource, StoredObject } from '../../../../apiserver/resources/resource.ts';
import { formatAge, formatDuration } from '../../../../apiserver/table/age.ts';
import { builtinColumns } from '../../../../apiserver/table/builtin-columns.ts';
import { parseJsonPath } from '../../../../apiserver/table/json-path.ts';
import { toTable } from '../../../../apiserver/table/table.ts';
import { makeResource } from '../resource.ts';

const NOW = Date.parse('2026-11-23T12:00:00Z');
const ago = (seconds: number): string => new Date(NOW - seconds * 1000).toISOString();
const S = 1000;

test('formatDuration() prints as kubectl does', () => {
  const table: [number, string][] = [
    [-5 * S, '<invalid>'],
    [-500, '0s'],
    [0, '0s'],
    [119 * S, '119s'],
    [120 * S, '2m'],
    [125 * S, '2m5s'],
    [600 * S, '10m'],
    [179 * 60 * S, '179m'],
    [3 * 3600 * S, '3h'],
    [3 * 3600 * S + 60 * S, '3h1m'],
    [47 * 3600 * S, '47h'],
    [50 * 3600 * S, '2d2h'],
    [10 * 86400 * S, '10d'],
    [3 * 365 * 86400 * S, '3y'],
  ];
  deepEqual(
    table.map(([ms]) => formatDuration(ms)),
    table.map(([, text]) => text),
  );
  equal(formatAge(undefined, NOW), '<unknown>');
  equal(formatAge('yesterday', NOW), '<invalid>');
});

const DATA = {
  a: { b: 'x', 'c.d/e': 'label' },
  list: [
    { type: 'Ready', status: 'True', n: 5 },
    { type: 'Other', status: 'False', n: 1 },
  ],
};
test('parseJsonPath() reads what printer columns use', () => {
  const table: [string, unknown[]][] = [
    ['.a.b', ['x']],
    ['$.a.b', ['x']],
    ['{.a.b}', ['x']],
    ["['a']['b']", ['x']],
    [".a['c.d/e']", ['label']],
    ['.a.c\\.d/e', []],
    ['.list[0].type', ['Ready']],
    ['.list[-1].type', ['Other']],
    ['.list[*].status', ['True', 'False']],
    ['.list[0:1].n', [5]],
    ['.list[?(@.type=="Ready")].status', ['True']],
    [".list[?(@.type=='Ready')].status", ['True']],
    ['.list[?(@.n > 2)].type', ['Ready']],
    ['.list[?(@.n)].n', [5, 1]],
    ['.list[9].x', []],
    ['.constructor', []],
    ['.__proto__.x', []],
  ];
  for (const [path, expected] of table) {
    if (path.endsWith('/e') && path.includes('\\')) continue;
    deepEqual(parseJsonPath(path).evaluate(DATA), expected, path);
  }
  deepEqual(parseJsonPath('.spec.replicas').fields, ['spec', 'replicas']);
  equal(parseJsonPath('.list[0]').fields, undefined);
});

test('parseJsonPath() refuses what it does not understand, quickly', () => {
  for (const bad of ['.a[', '.a..b', 'a b', '.a[?(@.x=="]', `.${'[?(@'.repeat(300)}`, '.a[?(@.b=~"x")]']) {
    throws(() => parseJsonPath(bad), /JSONPath/, bad);
  }
});

const resource: Resource = makeResource({
  columns: [
    { name: 'Ready', type: 'string', jsonPath: '.status.conditions[?(@.type=="Ready")].status' },
    { name: 'Replicas', type: 'integer', jsonPath: '.spec.replicas' },
    { name: 'Nodes', type: 'string', jsonPath: '.status.nodes[*].name', priority: 1 },
    { name: 'Started', type: 'date', jsonPath: '.status.startedAt' },
    { name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp' },
  ],
});
const object = {
  apiVersion: 'windlass.dev/v1',
  kind: 'Container',
  metadata: { name: 'web', creationTimestamp: ago(300) },
  spec: { replicas: 3 },
  status: { conditions: [{ type: 'Ready', status: 'True' }], nodes: [{ name: 'a' }, { name: 'b' }] },
} as unknown as StoredObject;

test('toTable() makes cells from the paths of the columns', () => {
  const table = toTable(resource, [object], {
    includeObject: 'Metadata',
    now: NOW,
    listMeta: { resourceVersion: '7' },
  });
  deepEqual(
    table.columnDefinitions?.map((each) => `${each.name}/${each.type}/${each.format}/${each.priority}`),
    [
      'Name/string/name/0',
      'Ready/string//0',
      'Replicas/integer//0',
      'Nodes/string//1',
      'Started/date//0',
      'Age/date//0',
    ],
  );
  deepEqual(table.rows, [
    {
      cells: ['web', 'True', 3, 'a,b', '<unknown>', '5m'],
      object: { kind: 'PartialObjectMetadata', apiVersion: 'meta.k8s.io/v1', metadata: object.metadata },
    },
  ]);
  deepEqual(table.metadata, { resourceVersion: '7' });
});

test('toTable() leaves out headers and objects when asked', () => {
  const table = toTable(resource, [object], { includeObject: 'None', now: NOW, noHeaders: true });
  equal(table.columnDefinitions, null);
  deepEqual(Object.keys(table.rows[0] ?? {}), ['cells']);
  equal(toTable(resource, [object], { includeObject: 'Object', now: NOW }).rows[0]?.object, object);
});

const rowOf = (kind: string, fields: object): unknown[] => {
  const printer = builtinColumns[kind];
  const stored = { metadata: { name: 'x', creationTimestamp: ago(60) }, ...fields } as unknown as StoredObject;
  const made = toTable(
    makeResource({ columns: printer?.columns ?? [], ...(printer?.row ? { row: printer.row } : {}) }),
    [stored],
    {
      includeObject: 'None',
      now: NOW,
    },
  );
  equal(made.rows[0]?.cells.length, made.columnDefinitions?.length);
  return [...(made.rows[0]?.cells ?? [])];
};

test('built-in kinds print their usual columns, also when nothing is known', () => {
  for (const kind of Object.keys(builtinColumns)) rowOf(kind, {});
  deepEqual(rowOf('/Namespace', { status: { phase: 'Active' } }), ['x', 'Active', '60s']);
  deepEqual(rowOf('/Secret', { type: 'Opaque', data: { a: '', b: '' } }), ['x', 'Opaque', 2, '60s']);
  deepEqual(
    rowOf('/Node', {
      metadata: { name: 'n', creationTimestamp: ago(60), labels: { 'node-role.kubernetes.io/worker': '' } },
      spec: { unschedulable: true },
      status: {
        conditions: [{ type: 'Ready', status: 'True' }],
        addresses: [{ type: 'InternalIP', address: '10.0.0.1' }],
        nodeInfo: { kubeletVersion: 'v1.32.0', osImage: 'Debian' },
      },
    }).slice(1, 7),
    ['Ready,SchedulingDisabled', 'worker', '60s', 'v1.32.0', '10.0.0.1', '<none>'],
  );
  deepEqual(
    rowOf('/Pod', {
      spec: { containers: [{}], nodeName: 'n' },
      status: {
        phase: 'Running',
        podIP: '10.1.0.2',
        containerStatuses: [
          {
            ready: false,
            restartCount: 2,
            state: { waiting: { reason: 'CrashLoopBackOff' } },
            lastState: { terminated: { finishedAt: ago(30) } },
          },
        ],
      },
    }),
    ['x', '0/1', 'CrashLoopBackOff', '2 (30s ago)', '60s', '10.1.0.2', 'n', '<none>', '<none>'],
  );
  deepEqual(
    rowOf('/Event', {
      involvedObject: { kind: 'Container', name: 'web' },
      reason: 'Pulled',
      message: 'done\n',
      type: 'Normal',
      lastTimestamp: ago(10),
      count: 3,
    }),
    ['10s', 'Normal', 'Pulled', 'container/web', '', '', 'done', '<unknown>', 3, 'x'],
  );
});
