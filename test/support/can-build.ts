// Whether the nodes of a test build images: their runtime may have no builder.
import type { TestInstance } from './instance.ts';
import { waitFor } from './wait.ts';

const FEATURES = 'jsonpath={.items[0].metadata.annotations.windlass\\.dev/runtime-features}';

/** What Describe() of the runtime says, as the agent passes it on. */
export async function canBuild({ kubectlOk }: Pick<TestInstance, 'kubectlOk'>): Promise<boolean> {
  // Every runtime of ours has networks.
  const told = await waitFor(
    async () => {
      const features = (await kubectlOk(['get', 'nodes', '-o', FEATURES])).split(',');
      return features.includes('networks') && features;
    },
    { timeoutMs: 60_000, what: 'the features of the runtime' },
  );
  return told.includes('build');
}
