// The two questions that the API server answers for others: whose token this is, and whether a user may do something.
// https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-review-v1/
// https://kubernetes.io/docs/reference/kubernetes-api/authorization-resources/subject-access-review-v1/
import { z } from 'zod';
import type { ApiClient } from '../../client/client.ts';
import type { KubernetesObject } from '../../crds/kind.ts';

export interface ClusterUser {
  readonly name: string;
  readonly groups: readonly string[];
}

export interface Reviews {
  /** Undefined for a token of nobody. */
  identify(token: string): Promise<ClusterUser | undefined>;
  /** Whether the user may do `verb` to images/layers. */
  isAllowed(user: ClusterUser, what: { verb: string; namespace: string; name: string }): Promise<boolean>;
}

interface Review extends KubernetesObject {
  spec: object;
  status?: unknown;
}

const TOKEN_REVIEW = {
  group: 'authentication.k8s.io',
  version: 'v1',
  kind: 'TokenReview',
  plural: 'tokenreviews',
  namespaced: false,
};
const ACCESS_REVIEW = {
  group: 'authorization.k8s.io',
  version: 'v1',
  kind: 'SubjectAccessReview',
  plural: 'subjectaccessreviews',
  namespaced: false,
};

const tokenStatus = z.object({
  authenticated: z.boolean().default(false),
  user: z.object({ username: z.string(), groups: z.array(z.string()).default([]) }).optional(),
});
const accessStatus = z.object({ allowed: z.boolean() });

/** Asks through `client`, which must be allowed to ask about others. */
export function createReviews(client: ApiClient): Reviews {
  const ask = async (kind: typeof TOKEN_REVIEW, spec: object): Promise<unknown> => {
    const review: Review = { apiVersion: `${kind.group}/v1`, kind: kind.kind, metadata: { name: '' }, spec };
    return (await client.kind<Review>(kind).create(review)).status;
  };
  return {
    async identify(token) {
      const { authenticated, user } = tokenStatus.parse(await ask(TOKEN_REVIEW, { token }));
      return authenticated && user ? { name: user.username, groups: user.groups } : undefined;
    },
    async isAllowed({ name: user, groups }, { verb, namespace, name }) {
      const resource = { group: 'windlass.dev', version: 'v1', resource: 'images', subresource: 'layers' };
      const spec = { user, groups, resourceAttributes: { ...resource, verb, namespace, name } };
      return accessStatus.parse(await ask(ACCESS_REVIEW, spec)).allowed;
    },
  };
}
