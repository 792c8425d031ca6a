// Who is asking, what they may do, and the rules that say so.
import type { StructuralSchema } from '../../schema/structural.ts';
import { flag, int64, kind, list, map, object, open, text, textList, time } from './fields.ts';

const AUTHENTICATION = 'authentication.k8s.io';
const AUTHORIZATION = 'authorization.k8s.io';
const RBAC = 'rbac.authorization.k8s.io';

const userInfo = object('A user.', {
  username: text('Name.'),
  uid: text('Id.'),
  groups: textList('Groups.'),
  extra: map('Further facts.', textList('Values.')),
});
const access = {
  resourceAttributes: object('Access to an object.', {
    namespace: text('Namespace; empty for all or none.'),
    verb: text('get, list, watch, create, update, patch, delete, or *.'),
    group: text('Group of the resource.'),
    version: text('Version of the resource.'),
    resource: text('The resource, e.g. containers.'),
    subresource: text('Its subresource, e.g. status.'),
    name: text('Name of the object; empty for all.'),
    fieldSelector: open('Restricts a list by fields.'),
    labelSelector: open('Restricts a list by labels.'),
  }),
  nonResourceAttributes: object('Access to a path.', { path: text('The path.'), verb: text('The HTTP verb.') }),
};
const decision = object('The answer.', {
  allowed: flag('Whether it may.'),
  denied: flag('Whether it was refused on purpose.'),
  reason: text('Why.'),
  evaluationError: text('What went wrong while deciding.'),
});
const rules = list(
  'What is allowed.',
  object(
    'A rule.',
    {
      verbs: textList('Verbs, * for all.'),
      apiGroups: textList('Groups, * for all.'),
      resources: textList('Resources, * for all.'),
      resourceNames: textList('Names; empty for all.'),
      nonResourceURLs: textList('Paths.'),
    },
    ['verbs'],
  ),
);
const roleRef = object(
  'The role that is given.',
  {
    apiGroup: text('rbac.authorization.k8s.io.'),
    kind: text('Role or ClusterRole.'),
    name: text('Its name.'),
  },
  ['kind', 'name'],
);
const subjects = list(
  'Who gets it.',
  object(
    'A user, group or service account.',
    {
      kind: text('User, Group or ServiceAccount.'),
      apiGroup: text('Group of the kind.'),
      name: text('Name.'),
      namespace: text('Namespace of a service account.'),
    },
    ['kind', 'name'],
  ),
);

export const accessSchemas: Readonly<Record<string, StructuralSchema>> = {
  [`${AUTHENTICATION}/SelfSubjectReview`]: kind('SelfSubjectReview asks: who am I?', {
    status: object('The answer.', { userInfo }),
  }),
  [`${AUTHENTICATION}/TokenReview`]: kind('TokenReview asks whose token this is.', {
    spec: object('The question.', { token: text('The token.'), audiences: textList('Whom it is for.') }),
    status: object('The answer.', {
      authenticated: flag('Whether it is good.'),
      user: userInfo,
      audiences: textList('Whom it is good for.'),
      error: text('Why it is not good.'),
    }),
  }),
  [`${AUTHENTICATION}/TokenRequest`]: kind('TokenRequest asks for a token of a service account.', {
    spec: object('The question.', {
      audiences: textList('Whom it is for.'),
      expirationSeconds: int64('How long it should last.'),
      boundObjectRef: open('The object it lasts no longer than.'),
    }),
    status: object('The answer.', { token: text('The token.'), expirationTimestamp: time('When it runs out.') }),
  }),
  [`${AUTHORIZATION}/SelfSubjectAccessReview`]: kind('SelfSubjectAccessReview asks: may I do that?', {
    spec: object('The question.', access),
    status: decision,
  }),
  [`${AUTHORIZATION}/SubjectAccessReview`]: kind('SubjectAccessReview asks: may this user do that?', {
    spec: object('The question.', {
      ...access,
      user: text('Name.'),
      groups: textList('Groups.'),
      uid: text('Id.'),
      extra: map('Further facts.', textList('Values.')),
    }),
    status: decision,
  }),
  [`${AUTHORIZATION}/SelfSubjectRulesReview`]: kind('SelfSubjectRulesReview asks: what may I do here?', {
    spec: object('The question.', { namespace: text('Where.') }),
    status: object('The answer.', {
      resourceRules: rules,
      nonResourceRules: rules,
      incomplete: flag('Whether there may be more.'),
      evaluationError: text('What went wrong.'),
    }),
  }),
  [`${RBAC}/Role`]: kind('Role allows things in its namespace.', { rules }),
  [`${RBAC}/ClusterRole`]: kind('ClusterRole allows things everywhere.', {
    rules,
    aggregationRule: open('Roles it is put together from.'),
  }),
  [`${RBAC}/RoleBinding`]: kind('RoleBinding gives a role to users in its namespace.', { subjects, roleRef }, [
    'roleRef',
  ]),
  [`${RBAC}/ClusterRoleBinding`]: kind('ClusterRoleBinding gives a role to users everywhere.', { subjects, roleRef }, [
    'roleRef',
  ]),
};
