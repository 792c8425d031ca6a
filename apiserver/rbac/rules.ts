// What a rule of a role allows, and whether some rules allow all that another one does. Pure.
// https://kubernetes.io/docs/reference/access-authn-authz/rbac/#role-and-clusterrole
import type { PolicyRule } from '../../crds/rbac.ts';
import type { Attributes } from '../auth/authorize.ts';

const ALL = '*';

type Texts = readonly string[] | null | undefined;

const has = (list: Texts, value: string): boolean => list?.some((one) => one === ALL || one === value) ?? false;

/** Whether one rule alone allows what is asked for. */
export function ruleAllows(rule: PolicyRule, asked: Attributes): boolean {
  if (!has(rule.verbs, asked.verb)) return false;
  if (asked.path !== undefined) return rule.nonResourceURLs?.some((url) => coversPath(url, asked.path ?? '')) ?? false;
  return (
    has(rule.apiGroups, asked.group) &&
    (rule.resources?.some((one) => coversResource(one, asked.resource, asked.subresource)) ?? false) &&
    (isEmpty(rule.resourceNames) || rule.resourceNames?.includes(asked.name) === true)
  );
}

/** `*` is everything, `pods/log` one subresource, `*` before the slash that subresource of all resources. */
function coversResource(pattern: string, resource: string, subresource: string): boolean {
  if (pattern === ALL) return true;
  if (subresource === '') return pattern === resource;
  return pattern === `${resource}/${subresource}` || pattern === `${ALL}/${subresource}`;
}

/** A path, or the beginning of paths with a star at its end. */
function coversPath(pattern: string, path: string): boolean {
  if (pattern === ALL || pattern === path) return true;
  return pattern.endsWith(ALL) && path.startsWith(pattern.slice(0, -1));
}

/**
 * Those of `wanted` that the rules `held` do not allow, taken apart into single grants: one verb on one resource, of one
 * name, or on one path. Empty = whoever holds `held` may hand on all of `wanted`.
 */
export function notCovered(held: readonly PolicyRule[], wanted: readonly PolicyRule[]): PolicyRule[] {
  return wanted.flatMap(takeApart).filter((grant) => !held.some((rule) => ruleAllows(rule, askedBy(grant))));
}

function takeApart(rule: PolicyRule): PolicyRule[] {
  const grants: PolicyRule[] = [];
  for (const verb of rule.verbs) {
    for (const url of rule.nonResourceURLs ?? []) grants.push({ verbs: [verb], nonResourceURLs: [url] });
    for (const group of rule.apiGroups ?? []) {
      for (const resource of rule.resources ?? []) {
        const grant = { verbs: [verb], apiGroups: [group], resources: [resource] };
        if (isEmpty(rule.resourceNames)) grants.push(grant);
        else for (const name of rule.resourceNames ?? []) grants.push({ ...grant, resourceNames: [name] });
      }
    }
  }
  return grants;
}

/** The question that a single grant is: a star in it is only held by a star, and no name by no names. */
function askedBy({ verbs, apiGroups, resources, resourceNames, nonResourceURLs }: PolicyRule): Attributes {
  const [resource = '', subresource = ''] = (resources?.[0] ?? '').split('/');
  const path = nonResourceURLs?.[0];
  return {
    ...{ verb: verbs[0] ?? '', group: apiGroups?.[0] ?? '', version: '', resource, subresource },
    ...{ namespace: '', name: resourceNames?.[0] ?? '' },
    ...(path === undefined ? {} : { path }),
  };
}

const isEmpty = (list: Texts): boolean => (list ?? []).length === 0;
