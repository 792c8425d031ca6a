// All mounts of a Container, its image's VOLUMEs included, sorted so that parents come before children. Pure.
import type { Container } from '../../../crds/container.ts';
import type { Mount } from '../../../crds/container-mounts.ts';
import type { OciImageConfig } from '../runtime/node-runtime.ts';

/** The path without doubled or trailing slashes; an image's VOLUME may climb, which stays below the root. */
export function cleanMountPath(path: string): string {
  const steps: string[] = [];
  for (const step of path.split('/')) {
    if (step === '..') steps.pop();
    else if (step !== '' && step !== '.') steps.push(step);
  }
  return `/${steps.join('/')}`;
}

/** `spec.mounts` with clean paths. */
export const ownMounts = ({ spec }: Container): Mount[] =>
  (spec.mounts ?? []).map((mount) => ({ ...mount, mountPath: cleanMountPath(mount.mountPath) }));

/** `spec.mounts`, then an anonymous volume for each VOLUME of the image that neither they nor `borrowed` cover. */
export function listMounts(container: Container, image: OciImageConfig, borrowed: readonly string[] = []): Mount[] {
  const own = ownMounts(container);
  const taken = new Set([...own.map(({ mountPath }) => mountPath), ...borrowed]);
  const fromImage = Object.keys(image.config?.Volumes ?? {})
    .map(cleanMountPath)
    .filter((path) => path !== '/' && !taken.has(path))
    .map((mountPath): Mount => ({ mountPath, readOnly: false, propagation: 'Private', noCopy: false }));
  return [...own, ...fromImage].toSorted(byDepth);
}

/** Parents first: what is mounted later hides what lies below. */
export const byDepth = (a: { readonly mountPath: string }, b: { readonly mountPath: string }): number =>
  a.mountPath.split('/').length - b.mountPath.split('/').length;

export const isAnonymous = (mount: Mount): boolean =>
  !mount.volume && !mount.hostPath && !mount.tmpfs && !mount.configMap && !mount.secret && !mount.image;
