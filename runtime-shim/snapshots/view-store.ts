// Read-only mounts of images, shared by their holders:
//   views/<hex>/record.json   the layers, and who holds the view
//   views/<hex>/merged        where it is mounted; unmounted when the last holder lets go
import { mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { errnoOf } from '../../lib/errors.ts';
import { splitDigest, digestOf, type Digest } from '../../oci/digest.ts';
import { asStoreError } from '../../oci/ingest.ts';
import type { LayerStore } from './layer-store.ts';
import { isMountPoint, type OverlayMounts } from './overlay-mounts.ts';

interface ViewRecord {
  readonly chain: readonly Digest[];
  readonly holders: readonly string[];
}

export interface ViewStore {
  /** One view for all holders, but one of his own for a holder in a user namespace (its pinned path). */
  mount(chain: readonly Digest[], holder: string, userNamespace?: string): string;
  /** Lets go of every view that `holder` holds. */
  unmount(holder: string): Promise<void>;
  holders(): string[];
  usedLayers(): ReadonlySet<Digest>;
  /** Forgets views that are not mounted: after a reboot their holders are gone, or will ask again. */
  recover(): Promise<void>;
}

/** Opens the views below `root`. */
export function openViewStore(root: string, layers: LayerStore, mounts: OverlayMounts): ViewStore {
  const viewsDir = join(root, 'views');
  const emptyDir = join(root, 'empty');
  mkdirSync(viewsDir, { recursive: true, mode: 0o700 });
  mkdirSync(emptyDir, { recursive: true, mode: 0o755 });

  function read(name: string): ViewRecord | undefined {
    try {
      const record = JSON.parse(
        readFileSync(join(viewsDir, name, 'record.json'), 'utf8'),
      ) as Partial<ViewRecord> | null;
      // Damaged = nobody is known to hold it.
      return Array.isArray(record?.chain) && Array.isArray(record.holders) ? (record as ViewRecord) : undefined;
    } catch (error) {
      if (errnoOf(error) === 'ENOENT' || error instanceof SyntaxError) return undefined;
      throw error;
    }
  }
  function write(name: string, record: ViewRecord): void {
    const path = join(viewsDir, name, 'record.json');
    writeFileSync(`${path}.tmp`, JSON.stringify(record), { mode: 0o600 });
    renameSync(`${path}.tmp`, path);
  }

  return {
    mount(chain, holder, userNamespace) {
      const { hex } = splitDigest(chain.at(-1) ?? digestOf(''));
      const name = userNamespace === undefined ? hex : `${hex}.${splitDigest(digestOf(holder)).hex.slice(0, 16)}`;
      const merged = join(viewsDir, name, 'merged');
      try {
        mkdirSync(merged, { recursive: true, mode: 0o755 });
        const holders = new Set(read(name)?.holders);
        if (!holders.has(holder)) write(name, { chain, holders: [...holders, holder] });
        if (!isMountPoint(merged)) {
          // Without an upper directory the kernel wants at least two lower ones.
          const lowerDirs = [...layers.lowerDirs(chain), emptyDir];
          if (lowerDirs.length === 1) lowerDirs.unshift(merged);
          mounts.mountOverlay({ lowerDirs, target: merged, userNamespace });
        }
      } catch (error) {
        throw asStoreError(`failed to mount a view of an image below ${root}`, error);
      }
      return merged;
    },
    async unmount(holder) {
      for (const name of readdirSync(viewsDir)) {
        const record = read(name);
        if (record !== undefined && !record.holders.includes(holder)) continue;
        const holders = record?.holders.filter((other) => other !== holder) ?? [];
        if (record !== undefined && holders.length > 0) {
          write(name, { ...record, holders });
        } else {
          mounts.unmount(join(viewsDir, name, 'merged'));
          await layers.discard(join(viewsDir, name));
        }
      }
    },
    async recover() {
      for (const name of readdirSync(viewsDir)) {
        if (read(name) !== undefined && isMountPoint(join(viewsDir, name, 'merged'))) continue;
        mounts.unmount(join(viewsDir, name, 'merged'));
        await layers.discard(join(viewsDir, name));
      }
    },
    holders: () => [...new Set(readdirSync(viewsDir).flatMap((name) => read(name)?.holders ?? []))],
    usedLayers() {
      return new Set(readdirSync(viewsDir).flatMap((name) => read(name)?.chain ?? []));
    },
  };
}
