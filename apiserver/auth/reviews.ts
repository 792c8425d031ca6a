// The answers to reviews: what somebody asks about itself, and what a server that trusts this one asks about others.
// https://kubernetes.io/docs/reference/access-authn-authz/authorization/#checking-api-access
import { messageOf, reasonOf } from '../../lib/errors.ts';
import { badRequest } from '../routes/api-errors.ts';
import { decodeBody } from '../routes/body.ts';
import { mediaTypeOf } from '../routes/request-options.ts';
import type { SubresourceHandler, SubresourceRequest, SubresourceResponse } from '../resources/subresource.ts';
import type { Grant } from '../rbac/roles.ts';
import { MASTERS, NODES, type Attributes } from './authorize.ts';
import type { Authorize } from './authorizer.ts';
import type { User } from './user.ts';

type Fields = Record<string, unknown>;

export interface ReviewDeps {
  /** The user of a bearer token; throws Unauthorized for one of nobody. */
  readonly identifyToken: (token: string) => Promise<User>;
  readonly authorize: Authorize;
  /** What a user has by roles. */
  readonly grantsOf: (
    user: User,
    namespace: string,
  ) => { readonly grants: readonly Grant[]; readonly errors: readonly string[] };
}

/** Handlers of the collections themselves: their subresource name is empty. */
export function reviewHandlers({ identifyToken, authorize, grantsOf }: ReviewDeps): SubresourceHandler[] {
  const accessReview = (spec: Fields, user: User): Fields => reviewAccess(authorize, spec, user);
  return [
    handler('authentication.k8s.io', 'SelfSubjectReview', (_spec, user) => ({ userInfo: userInfo(user) })),
    handler('authentication.k8s.io', 'TokenReview', (spec) => tokenReview(spec, identifyToken)),
    handler('authorization.k8s.io', 'SelfSubjectAccessReview', accessReview),
    handler('authorization.k8s.io', 'SubjectAccessReview', (spec) => accessReview(spec, subjectOf(spec))),
    handler('authorization.k8s.io', 'SelfSubjectRulesReview', (spec, user) => reviewRules(grantsOf, spec, user)),
  ];
}

const userInfo = ({ name, groups, uid, extra }: User): Fields => ({
  username: name,
  ...(uid === undefined ? {} : { uid }),
  groups,
  ...(extra === undefined ? {} : { extra }),
});

async function tokenReview(spec: Fields, identifyToken: (token: string) => Promise<User>): Promise<Fields> {
  const { token } = spec;
  if (typeof token !== 'string' || token === '') throw badRequest('spec.token must be set');
  try {
    return { authenticated: true, user: userInfo(await identifyToken(token)) };
  } catch (error) {
    if (reasonOf(error) !== 'Unauthorized') throw error;
    return { authenticated: false, error: messageOf(error) };
  }
}

/** The user that a SubjectAccessReview is about. */
function subjectOf({ user, groups }: Fields): User {
  const names = Array.isArray(groups) ? groups.filter((group) => typeof group === 'string') : [];
  if (typeof user !== 'string' && names.length === 0) throw badRequest('one of spec.user and spec.groups must be set');
  return { name: typeof user === 'string' ? user : '', groups: names };
}

type Reviewer = (spec: Fields, user: User) => Fields | Promise<Fields>;

function handler(group: string, kind: string, answer: Reviewer): SubresourceHandler {
  const apiVersion = `${group}/v1`;
  return {
    group,
    version: 'v1',
    plural: `${kind.toLowerCase()}s`,
    name: '',
    verbs: ['create'],
    async handle({ body, headers, user }: SubresourceRequest): Promise<SubresourceResponse> {
      const { object } = decodeBody(body, mediaTypeOf(headers['content-type']));
      const spec = (object['spec'] ?? {}) as Fields;
      const status = await answer(spec, user);
      const review = { kind, apiVersion, metadata: { creationTimestamp: null }, spec, status };
      return { status: 201, contentType: 'application/json', body: JSON.stringify(review) };
    },
  };
}

function reviewAccess(authorize: Authorize, spec: Fields, user: User): Fields {
  const resource = textsOf(spec, 'resourceAttributes') as Partial<Attributes> | undefined;
  const other = textsOf(spec, 'nonResourceAttributes');
  if (!resource === !other) {
    throw badRequest('exactly one of resourceAttributes and nonResourceAttributes must be set');
  }
  const none = { verb: '', group: '', version: '', resource: '', subresource: '', namespace: '', name: '' };
  const attributes: Attributes = resource
    ? { ...none, ...resource }
    : { ...none, verb: other?.verb ?? '', path: other?.path ?? '' };
  const { allowed, reason } = authorize(user, attributes);
  return { allowed, ...(reason === '' ? {} : { reason }) };
}

/** The texts of an object in a spec; undefined when it is absent. Throws BadRequest naming a field that is no text. */
function textsOf(spec: Fields, field: string): Readonly<Record<string, string>> | undefined {
  const value = spec[field];
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'object' || Array.isArray(value)) throw badRequest(`spec.${field} must be an object`);
  const texts: Record<string, string> = {};
  for (const [key, text] of Object.entries(value)) {
    // Selectors narrow a list, which no rule looks at.
    if (key === 'fieldSelector' || key === 'labelSelector' || text === null) continue;
    if (typeof text !== 'string') throw badRequest(`spec.${field}.${key} must be a string`);
    texts[key] = text;
  }
  return texts;
}

/** By what is fixed, and by roles: those of the cluster and of the namespace that is asked about. */
function reviewRules(grantsOf: ReviewDeps['grantsOf'], { namespace }: Fields, user: User): Fields {
  const { grants, errors } = grantsOf(user, typeof namespace === 'string' ? namespace : '');
  const everything = ['*'];
  const isMaster = user.groups.includes(MASTERS);
  const granted = isMaster ? [] : grants.flatMap(({ rules }) => rules);
  return {
    resourceRules: [
      { verbs: ['create'], apiGroups: ['authentication.k8s.io'], resources: ['selfsubjectreviews'] },
      {
        verbs: ['create'],
        apiGroups: ['authorization.k8s.io'],
        resources: ['selfsubjectaccessreviews', 'selfsubjectrulesreviews'],
      },
      ...(isMaster ? [{ verbs: everything, apiGroups: everything, resources: everything }] : []),
      ...(user.groups.includes(NODES)
        ? [{ verbs: ['get', 'list', 'watch'], apiGroups: everything, resources: everything }]
        : []),
      ...granted.filter(({ resources }) => resources?.length),
    ],
    nonResourceRules: [
      { verbs: isMaster ? everything : ['get'], nonResourceURLs: everything },
      ...granted.filter(({ nonResourceURLs }) => nonResourceURLs?.length),
    ],
    ...(errors.length === 0 ? {} : { evaluationError: errors.join(', ') }),
    // The node rule also depends on the object, which a list of rules cannot say.
    incomplete: user.groups.includes(NODES),
  };
}
