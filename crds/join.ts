// The words by which a node joins, known to the API server, the controllers, the agent and the command alike.
// https://kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens/

/** Type of the Secrets in kube-system that are join tokens. */
export const BOOTSTRAP_TOKEN_TYPE = 'bootstrap.kubernetes.io/token';
/** The user of a token is this and the id of the token. */
export const BOOTSTRAP_USER = 'system:bootstrap:';
/** The group of every token; those in `auth-extra-groups` begin with it. */
export const BOOTSTRAPPERS = 'system:bootstrappers';
/** The role of a token: what its bearer may become. */
export const NODE_ROLE_GROUP = 'system:bootstrappers:windlass:node';
/** Its bearer is given the keys of the cluster. */
export const SERVER_ROLE_GROUP = 'system:bootstrappers:windlass:server';
/** The key under which the hash of `token-secret` is stored: SHA-256 in hex. The secret has 82 random bits. */
export const TOKEN_HASH_KEY = 'token-secret-sha256';

/** The user that a node is, before its name; and its group. */
export const NODE_USER = 'system:node:';
export const NODE_GROUP = 'system:nodes';

/** Signs what a node shows to the API server. */
export const NODE_CLIENT_SIGNER = 'kubernetes.io/kube-apiserver-client-kubelet';
/** Signs what the agent of a node shows to those who call it. */
export const NODE_SERVING_SIGNER = 'kubernetes.io/kubelet-serving';

/** Annotation of a Node that joined: the hash of the key that its name belongs to. */
export const NODE_KEY_ANNOTATION = 'windlass.dev/node-key';
/** Annotation of a Node that joined: the UID of the request by which it did. */
export const JOIN_REQUEST_ANNOTATION = 'windlass.dev/join-request';

const LABEL = '[a-z0-9]([-a-z0-9]*[a-z0-9])?';
const NODE_NAME = new RegExp(`^${LABEL}(\\.${LABEL})*$`);

/** Whether a Node may have this name: a host name in lower case, no address. */
export const isNodeName = (name: string): boolean =>
  name.length <= 253 && NODE_NAME.test(name) && !/^[0-9.]+$/.test(name);

/** Name of the Secret of a token. */
export const tokenSecretName = (id: string): string => `bootstrap-token-${id}`;

/** What the Secret of a token says, by key: its `data` as text. */
export const tokenTexts = (data: unknown): Readonly<Record<string, string | undefined>> =>
  Object.fromEntries(
    Object.entries((data ?? {}) as Record<string, string>).map(([key, value]) => [
      key,
      Buffer.from(value, 'base64').toString('utf8'),
    ]),
  );

/** The user of the built-in registry, which asks the API server about those who call it. */
export const REGISTRY_USER = 'windlass:registry';
