// Which extended attributes go from one file system into a layer.

/**
 * File capabilities and what users set. Others are of the file system they are on (overlay marks, labels, access lists),
 * or would steer the overlay mount that the layer becomes part of.
 */
export function isKeptXattr(name: string): boolean {
  return name === 'security.capability' || (name.startsWith('user.') && !name.startsWith('user.overlay.'));
}

/** The kept ones of `all`, in the order of their names. */
export function keptXattrs(all: ReadonlyMap<string, Buffer>): ReadonlyMap<string, Buffer> {
  if (all.size === 0) return all;
  return new Map([...all].filter(([name]) => isKeptXattr(name)).toSorted(([a], [b]) => (a < b ? -1 : 1)));
}
