// Questions a client asks about itself, or a server about its clients: nothing is stored, a POST is answered.
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

/** The reviews about oneself, TokenReview and SubjectAccessReview. */
export function reviewResources(): Resource[] {
  return [
    review('authentication.k8s.io', 'SelfSubjectReview'),
    review('authentication.k8s.io', 'TokenReview'),
    review('authorization.k8s.io', 'SelfSubjectAccessReview'),
    review('authorization.k8s.io', 'SubjectAccessReview'),
    review('authorization.k8s.io', 'SelfSubjectRulesReview'),
  ];
}
