import { networksOf } from '../../network/plan.ts';
import { readEncryption } from '../../network/encryption.ts';
import { joinKey } from '../../runtime/object-key.ts';
import type { Filter } from '../filter.ts';

/** Who is on an encrypted network runs where the kernel can encrypt: elsewhere it would wait for ever. */
export const encryption: Filter = (container, { node }, context) => {
  for (const name of networksOf(container)) {
    if (context.network(joinKey(container.metadata.namespace, name))?.spec.encrypted !== true) continue;
    const { publicKey, lacks } = readEncryption(node);
    if (publicKey === undefined) return { reason: `could not encrypt network ${name}`, detail: lacks };
  }
  return undefined;
};
