// What a build may know and nobody else: read for each build, kept nowhere.
import type { Secret } from '../../../crds/builtin.ts';
import type { Image } from '../../../crds/image.ts';
import { secretData, type Cluster } from '../cluster.ts';
import { listCredentials } from '../images/pull-secrets.ts';
import type { ImageBuild } from '../runtime/image-build.ts';

export type BuildSecrets =
  | {
      readonly kind: 'read';
      readonly secrets: ImageBuild['secrets'];
      readonly credentials: ImageBuild['credentials'];
      /** Which version of which Secret RUN instructions see: changes with it, and gives nothing of it away. */
      readonly versions: readonly string[];
    }
  | { readonly kind: 'missing'; readonly message: string };

/** Reads the Secrets that the Image names for RUN instructions and for registries. */
export async function readBuildSecrets(
  cluster: Pick<Cluster, 'secret'>,
  { metadata, spec }: Image,
  signal: AbortSignal,
): Promise<BuildSecrets> {
  const { namespace = '' } = metadata;
  const missing = (field: string, problem: string): BuildSecrets => ({
    kind: 'missing',
    message: `${field}: ${problem}`,
  });
  const secrets: { id: string; data: Buffer }[] = [];
  const versions: string[] = [];
  for (const [index, { id, secretName, key = id }] of (spec.build?.secrets ?? []).entries()) {
    const field = `spec.build.secrets[${index}]`;
    const secret = await cluster.secret(namespace, secretName, signal);
    if (!secret) return missing(`${field}.secretName`, `secret "${secretName}" not found`);
    const data = secretData(secret)[key];
    if (!data) return missing(`${field}.key`, `secret "${secretName}" has no key "${key}"`);
    secrets.push({ id, data });
    versions.push(`${secretName} ${secret.metadata.uid ?? ''} ${secret.metadata.resourceVersion ?? ''}`);
  }
  const logins: Secret[] = [];
  for (const [index, { name }] of (spec.imagePullSecrets ?? []).entries()) {
    const secret = await cluster.secret(namespace, name, signal);
    if (!secret) return missing(`spec.imagePullSecrets[${index}].name`, `secret "${name}" not found`);
    logins.push(secret);
  }
  return { kind: 'read', secrets, versions, credentials: listCredentials(logins) };
}
