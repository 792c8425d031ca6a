// The answers to SelfSubjectReview, SelfSubjectAccessReview and SelfSubjectRulesReview.
import { badRequest } from '../routes/api-errors.ts';
import { decodeBody } from '../routes/body.ts';
import { mediaTypeOf } from '../routes/request-options.ts';
import type { SubresourceHandler, SubresourceRequest, SubresourceResponse } from '../resources/subresource.ts';
import { authorize, MASTERS, NODES, type Attributes } from './authorize.ts';
import type { User } from './user.ts';

type Fields = Record<string, unknown>;

/** Handlers of the collections themselves: their subresource name is empty. */
export function reviewHandlers(): SubresourceHandler[] {
  return [
    handler('authentication.k8s.io', 'SelfSubjectReview', (_spec, user) => ({
      userInfo: { username: user.name, groups: user.groups },
    })),
    handler('authorization.k8s.io', 'SelfSubjectAccessReview', accessReview),
    handler('authorization.k8s.io', 'SelfSubjectRulesReview', (_spec, user) => rulesReview(user)),
  ];
}

function handler(group: string, kind: string, answer: (spec: Fields, user: User) => Fields): SubresourceHandler {
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
      const status = answer(spec, user);
      const review = { kind, apiVersion, metadata: { creationTimestamp: null }, spec, status };
      return { status: 201, contentType: 'application/json', body: JSON.stringify(review) };
    },
  };
}

function accessReview(spec: Fields, user: User): Fields {
  const resource = spec['resourceAttributes'] as Partial<Attributes> | null | undefined;
  const other = spec['nonResourceAttributes'] as { path?: string; verb?: string } | null | undefined;
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

function rulesReview(user: User): Fields {
  const everything = ['*'];
  const isMaster = user.groups.includes(MASTERS);
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
    ],
    nonResourceRules: [{ verbs: isMaster ? everything : ['get'], nonResourceURLs: everything }],
    // The node rule also depends on the object, which a list of rules cannot say.
    incomplete: user.groups.includes(NODES),
  };
}
