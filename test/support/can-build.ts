// Whether a node of a test builds images: its runtime may have no builder.
import { createCriClient } from '../../cri/client.ts';
import { describeInstance, paths, type Instance } from '../../lib/instance.ts';

/** Asks the runtime of the instance whose folders these are. */
export async function canBuild({ home, run }: Pick<Instance, 'home' | 'run'>): Promise<boolean> {
  const client = createCriClient({ socketPath: paths.criSocket(describeInstance(home, run)) });
  try {
    return (await client.node.describe({})).features.includes('build');
  } finally {
    client[Symbol.dispose]();
  }
}
