// Limits of writable layers that the kernel keeps: each layer is a project of its own on a file system with project
// quotas. Who writes beyond a limit gets EDQUOT, and nobody else notices. overlayfs writes without CAP_SYS_RESOURCE
// (ovl_fill_super), so no container is above its limit by its rights.
import { randomInt } from 'node:crypto';
import { statSync } from 'node:fs';
import {
  enforcesProjectQuota,
  projectOf,
  readProject,
  setProject,
  setProjectLimits,
  type ProjectLimits,
  type ProjectUsage,
} from '../host/project-quota.ts';

export type LayerLimits = ProjectLimits;

/**
 * Projects have no names and no owners: ours are drawn from the upper half of the positive 32-bit numbers, far from
 * those that people (/etc/projid) and other runtimes (from 1, or 2^20, upwards) give out.
 */
const FIRST_PROJECT = 2 ** 30;
const PAST_PROJECTS = 2 ** 31;
const TRIES = 100;
/** upper, work and what overlayfs keeps in work count too, but are not the container's. */
const OWN_FOLDERS = 4;

/** Which file is which project is written on the folders alone, so there is nothing to lose or to disagree with. */
export interface LayerQuota {
  /** A project that nobody has, with these limits. */
  open(limits: LayerLimits): number;
  /** Puts the empty folder `path` into a project. */
  mark(path: string, project: number): void;
  /** Changes the limits of the layer whose upper folder this is; false when it is in no project of ours. */
  limit(upper: string, limits: LayerLimits): boolean;
  isHeld(upper: string): boolean;
  /** What the layer takes, work folder included; undefined when it is in no project of ours. */
  usage(upper: string): ProjectUsage | undefined;
  /** Forgets the limits of a layer that is about to be deleted. */
  close(upper: string): void;
}

/** Undefined where the file system of `folder` keeps no project quotas. */
export function openLayerQuota(folder: string): LayerQuota | undefined {
  if (!enforcesProjectQuota(folder)) return undefined;
  const ownProject = (upper: string): number | undefined => {
    if (!statSync(upper, { throwIfNoEntry: false })?.isDirectory()) return undefined;
    const project = projectOf(upper);
    return project >= FIRST_PROJECT && project < PAST_PROJECTS ? project : undefined;
  };
  const setLimits = (project: number, { bytes, inodes }: LayerLimits): void =>
    setProjectLimits(folder, project, { bytes, inodes: inodes && inodes + OWN_FOLDERS });
  return {
    open(limits) {
      for (let tries = 0; tries < TRIES; tries += 1) {
        const project = randomInt(FIRST_PROJECT, PAST_PROJECTS);
        const found = readProject(folder, project);
        // The files of a layer may still be on their way out when its limits are gone.
        if (found && (found.isLimited || found.inodes > 0)) continue;
        setLimits(project, limits);
        return project;
      }
      throw new Error(`no free project quota number on the file system of ${folder}`);
    },
    mark: setProject,
    limit(upper, limits) {
      const project = ownProject(upper);
      if (project !== undefined) setLimits(project, limits);
      return project !== undefined;
    },
    isHeld: (upper) => ownProject(upper) !== undefined,
    usage(upper) {
      const project = ownProject(upper);
      return project === undefined ? undefined : readProject(folder, project);
    },
    close(upper) {
      const project = ownProject(upper);
      if (project !== undefined) setProjectLimits(folder, project, {});
    },
  };
}
