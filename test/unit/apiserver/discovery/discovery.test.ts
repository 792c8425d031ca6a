import { deepEqual, equal } from 'node:assert/strict';
import { test } from 'node:test';
import { apiGroupDiscoveryList, negotiateDiscovery } from '../../../../apiserver/discovery/aggregated.ts';
import { apiGroup, apiGroupList, apiResourceList, apiVersions } from '../../../../apiserver/discovery/legacy.ts';
import { negotiate } from '../../../../apiserver/discovery/negotiate.ts';
import { compareVersions } from '../../../../apiserver/discovery/resource-groups.ts';
import { makeResource } from '../resource.ts';

const service = makeResource({
  kind: 'Service',
  plural: 'services',
  singular: 'service',
  shortNames: ['svc'],
  scale: { specReplicasPath: '.spec.replicas', statusReplicasPath: '.status.replicas' },
});
const namespace = makeResource({
  group: '',
  kind: 'Namespace',
  plural: 'namespaces',
  singular: 'namespace',
  shortNames: ['ns'],
  categories: [],
  namespaced: false,
});
const pod = makeResource({
  group: '',
  kind: 'Pod',
  plural: 'pods',
  singular: 'pod',
  verbs: ['get', 'list', 'watch'],
  subresources: [{ name: 'log', kind: 'Pod', verbs: ['get'] }],
});
const all = [makeResource(), service, namespace, pod, makeResource({ version: 'v1beta1' })];

test('legacy discovery lists versions, groups and resources with their subresources', () => {
  deepEqual(apiVersions(all, 'h:1').versions, ['v1']);
  deepEqual(
    apiGroupList(all).groups.map((each) => each.name),
    ['windlass.dev'],
  );
  deepEqual(
    apiGroup(all, 'windlass.dev')?.versions.map((each) => each.version),
    ['v1', 'v1beta1'],
  );
  deepEqual(apiGroup(all, 'windlass.dev')?.preferredVersion, { groupVersion: 'windlass.dev/v1', version: 'v1' });
  equal(apiGroup(all, 'nothing'), undefined);
  equal(apiGroup(all, ''), undefined);
  const list = apiResourceList(all, 'windlass.dev', 'v1');
  deepEqual(
    list?.resources.map((each) => each.name),
    ['containers', 'containers/status', 'services', 'services/scale', 'services/status'],
  );
  deepEqual(list?.resources[3], {
    name: 'services/scale',
    singularName: '',
    namespaced: true,
    group: 'autoscaling',
    version: 'v1',
    kind: 'Scale',
    verbs: ['get', 'patch', 'update'],
  });
  equal(list?.resources[0]?.storageVersionHash?.length, 12);
  deepEqual(
    apiResourceList(all, '', 'v1')
      ?.resources.map((each) => `${each.name} ${each.verbs.join()}`)
      .slice(2),
    ['pods get,list,watch', 'pods/log get', 'pods/status get'],
  );
  equal(apiResourceList(all, '', 'v2'), undefined);
});

test('aggregated discovery puts the core group under /api and the others under /apis', () => {
  const core = apiGroupDiscoveryList(all, 'api');
  deepEqual(core.items[0]?.metadata, {});
  deepEqual(
    core.items[0]?.versions[0]?.resources.map((each) => `${each.resource} ${each.scope}`),
    ['namespaces Cluster', 'pods Namespaced'],
  );
  const groups = apiGroupDiscoveryList(all, 'apis');
  deepEqual(
    groups.items[0]?.versions[0]?.resources[1]?.subresources?.map((each) => each.responseKind.group),
    ['autoscaling', 'windlass.dev'],
  );
});

test('negotiateDiscovery() answers legacy to clients that know v2beta1 only', () => {
  const form = (version: string): string =>
    `application/json;g=apidiscovery.k8s.io;v=${version};as=APIGroupDiscoveryList`;
  equal(negotiateDiscovery(`${form('v2')},${form('v2beta1')},application/json`), 'aggregated');
  equal(negotiateDiscovery(`${form('v2beta1')},application/json`), 'legacy');
  equal(negotiateDiscovery('application/json, */*'), 'legacy');
  equal(negotiateDiscovery(undefined), 'legacy');
  equal(negotiateDiscovery(form('v2beta1')), undefined);
});

test('negotiate() honours quality, order, wildcards and refusals', () => {
  const json = { type: 'application/json' };
  const yaml = { type: 'application/yaml' };
  const table = { type: 'application/json', parameters: { as: 'Table', v: 'v1', g: 'meta.k8s.io' } };
  const offers = [json, yaml, table];
  const cases: [string | undefined, unknown][] = [
    [undefined, json],
    ['', json],
    ['*/*', json],
    ['application/*', json],
    ['application/yaml', yaml],
    ['application/yaml;q=0.5, application/json', json],
    ['application/yaml, application/json', yaml],
    ['application/json;as=Table;v=v1;g=meta.k8s.io,application/json', table],
    ['application/json;as=Table;v=v9;g=meta.k8s.io', undefined],
    ['application/vnd.kubernetes.protobuf,application/json', json],
    ['application/vnd.kubernetes.protobuf', undefined],
    ['application/json;q=0, */*', yaml],
    ['application/json; charset=utf-8', json],
    ['text/html', undefined],
    ['garbage;;;,,', undefined],
    ['application/json;__proto__=x', json],
  ];
  for (const [header, expected] of cases) equal(negotiate(header, offers), expected, header);
});

test('compareVersions() prefers stable and high', () => {
  deepEqual(['v1alpha1', 'v2beta1', 'foo', 'v1', 'v2', 'v10'].toSorted(compareVersions), [
    'v10',
    'v2',
    'v1',
    'v2beta1',
    'v1alpha1',
    'foo',
  ]);
});
