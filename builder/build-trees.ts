// The places that the instructions of one build read from: its context, the files of its stages, and images; each made
// available when it is first asked for, until the build is over.
import type { FileSource } from './operations.ts';
import type { Context, SourceTree } from './files/builder-files.ts';
import type { Workspace } from './workspaces.ts';

export interface BuildTrees extends AsyncDisposable {
  /** Where the files of `source` are. */
  treeOf(source: FileSource): Promise<SourceTree>;
  /**
   * The root of the same files for a mount, which shows all that is there as it is: of a context, without what is ignored
   * and with root as the owner.
   */
  mountableRoot(source: FileSource): Promise<string>;
}

export interface TreeMakers {
  readonly context: Pick<Context, 'tree'>;
  /** Mounts the files that a stage has at its end, once it is there. */
  openStage(index: number): Promise<Workspace>;
  openImage(reference: string): Promise<Workspace>;
  nameOfStage(index: number): string;
  /** A folder that shows the context as a COPY would take it: its own, or a copy. */
  mountContext(): Promise<string>;
}

/** The trees of one build. */
export function createBuildTrees(makers: TreeMakers): BuildTrees {
  const opened = new Map<string, Promise<Workspace>>();
  const open = async (key: string, label: string, make: () => Promise<Workspace>): Promise<SourceTree> => {
    const workspace = opened.get(key) ?? make();
    opened.set(key, workspace);
    return { root: (await workspace).root, label, isContext: false, ignore: [] };
  };
  let mountable: Promise<string> | undefined;
  const treeOf = (source: FileSource): Promise<SourceTree> => {
    switch (source.kind) {
      case 'context':
        return Promise.resolve(makers.context.tree);
      case 'stage':
        return open(`stage ${source.index}`, `stage "${makers.nameOfStage(source.index)}"`, () =>
          makers.openStage(source.index),
        );
      default:
        return open(`image ${source.reference}`, `image ${source.reference}`, () => makers.openImage(source.reference));
    }
  };
  return {
    treeOf,
    async mountableRoot(source) {
      if (source.kind === 'context') return (mountable ??= makers.mountContext());
      return (await treeOf(source)).root;
    },
    async [Symbol.asyncDispose]() {
      for (const result of await Promise.allSettled(opened.values())) {
        if (result.status === 'fulfilled') await result.value[Symbol.asyncDispose]();
      }
    },
  };
}
