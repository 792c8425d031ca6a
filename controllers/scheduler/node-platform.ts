// What a node says about its operating system and processor.
import type { Node } from '../../crds/builtin.ts';

/** `linux`, `windows`; undefined when the node does not say. */
export const osOf = ({ metadata, status }: Node): string | undefined =>
  metadata.labels?.['kubernetes.io/os'] ?? status?.nodeInfo?.['operatingSystem'];

/** `amd64`, `arm64`, ... */
export const archOf = ({ metadata, status }: Node): string | undefined =>
  metadata.labels?.['kubernetes.io/arch'] ?? status?.nodeInfo?.['architecture'];

/** True unless the node says that it is something else than `os/arch[/variant]`. The variant is the node's to judge. */
export function isOfPlatform(node: Node, platform: string): boolean {
  const [os, arch] = platform.split('/');
  return (osOf(node) ?? os) === os && (archOf(node) ?? arch) === arch;
}
