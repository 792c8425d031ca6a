// Questions a client asks about itself: nothing is stored, a POST is answered.
import type { Resource } from '../resource.ts';
import { defineBuiltin } from './define.ts';
import { schemaOf } from './schemas.ts';

const review = (group: string, kind: string): Resource =>
  defineBuiltin({
    group,
    version: 'v1',
    kind,
    plural: `${kind.toLowerCase()}s`,
    namespaced: false,
    verbs: ['create'],
    schema: schemaOf(group, kind),
  });

/** SelfSubjectReview, SelfSubjectAccessReview and SelfSubjectRulesReview. */
export function reviewResources(): Resource[] {
  return [
    review('authentication.k8s.io', 'SelfSubjectReview'),
    review('authorization.k8s.io', 'SelfSubjectAccessReview'),
    review('authorization.k8s.io', 'SelfSubjectRulesReview'),
  ];
}
