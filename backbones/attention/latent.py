"""Keys and values rebuilt from one narrow vector a token, or read without rebuilding them.

B batch   T queries   S keys so far   C model width   r rank
H heads   G key/value heads   M maps a head   K key sets a head   E value width
N, R the parts of a query or key that stay and that turn; D = N + R   P maps that read one key set
"""

import torch
from torch import Tensor, nn

from ..by_hand import by_hand, product
from ..config import BackboneConfig, Latent
from ..layers import RmsNorm, together
from ..past import Start
from ..positions import Rotary, build_rotation
from ..stream import Bottleneck, reader
from .layout import HeadLayout, Heads, by_head, by_key_set, split
from .parted import parted
from .qk_norm import Origin, QkNorm, times
from .rebuilt import rebuilt


class Compressed(nn.Module):
    """c = norm(W x); keys [U_g c ; turned W_r x], values V_g c; the turned part is one for all.

    Source: DeepSeek-AI 2024 (DeepSeek-V2), section 2.1, eq. 9-19; the norms are its code's.
    Memory is c, the turned part and, under a QK norm, one inverse length a key.

    Two ways to read, equal to rounding. Expanded: rebuild keys and values. Absorbed: q' U c =
    (U' q)' c, so queries go to the latent space, the latents are both keys and values, and V_g
    follows the read. A QK norm does not prevent it: it multiplies the whole key by a number.

    Departures: rules may ask for several maps and key sets; on the sphere c has length one, no
    gain, and W_r x is brought to the size of U c by sqrt(C/r), lest a common norm drown it.
    """

    def __init__(self, config: BackboneConfig, latent: Latent, layout: HeadLayout) -> None:
        super().__init__()
        c, r = config.d_model, latent.rank
        self.layout, self.rotation = layout, build_rotation(config)
        self.parts, self.rank = (latent.nope_dim, latent.rope_dim), r
        self.balance = (c / r) ** 0.5 if config.on_sphere else 1.0
        self.query_latent, width = nn.Identity(), c
        if latent.query_rank is not None:
            width = latent.query_rank
            self.query_latent = Bottleneck(config, reader(config, c, width))
        self.norm = QkNorm(config, layout, Origin(query=width, key=r, shared=latent.rope_dim))
        self.q = reader(config, width, layout.heads * layout.maps * layout.query_dim)
        self.latent = Bottleneck(config, reader(config, c, r))
        self.turning_k = reader(config, c, latent.rope_dim)
        self.k = reader(config, r, layout.groups * layout.key_sets * latent.nope_dim)
        self.v = reader(config, r, layout.groups * layout.value_dim)

    @property
    def scale(self) -> float:
        """Factor of q k' before the softmax."""
        return self.norm.scale

    def queries(self, x: Tensor, start: Start) -> Tensor:
        """x [B, T, C] -> [B, H, M, T, D], of which the last R are turned."""
        q = split(self.q(self.query_latent(x)), self.layout.heads, self.layout.maps)
        return self.rotation(self.norm.queries(q), start, stay=self.parts[0])

    def memory(self, x: Tensor, start: Start) -> tuple[Tensor, ...]:
        """x [B, T, C] -> latents and turned parts [B, 1, 1, T, r + R], lengths [B, G, K, T, 1].

        The latter are inverse, and only there under a QK norm. The former stand side by side, as
        absorbed queries read them.
        """
        latent, turning = together(x, self.latent.down, self.turning_k)
        latent, turning = split(self.latent.norm(latent), 1, 1), split(turning, 1, 1)
        turning = turning if self.balance == 1.0 else turning * self.balance
        inverse = self.inverse_length(latent, turning)
        turned = self.rotation(times(turning, self.norm.shared_gain()), start)
        both = torch.cat((latent, turned), dim=-1)
        return (both,) if inverse is None else (both, inverse)

    def asked(self, x: Tensor, start: Start) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Queries and memory of x."""
        found = self.asked_at_once(x, start)
        if found is not None:
            return found
        memory = self.memory(x, start)
        return self.queries(x, start), memory

    def asked_at_once(self, x: Tensor, start: Start) -> tuple[Tensor, tuple[Tensor, ...]] | None:
        """The same in training, of one product, which is faster than two; where nothing is between
        it and the turn but the norm of latents, else None.
        """
        norm, turn = self.latent.norm, self.rotation
        maps = self.q, self.latent.down, self.turning_k
        plain = self.norm.kind == "none" and self.q.bias is None
        plain &= isinstance(self.query_latent, nn.Identity) and isinstance(start, int)
        if not (plain and isinstance(norm, RmsNorm) and isinstance(turn, Rotary)):
            return None
        weights: list[Tensor] = [m.weight for m in maps]
        if not by_hand(x, *weights):
            return None
        wide = product(x, torch.cat(weights))
        q, both = parted(wide, norm, turn.halves(x[..., : self.parts[1]], start), self.layout)
        return q, (split(both, 1, 1),)

    def heads(self, q: Tensor, memory: tuple[Tensor, ...]) -> Heads:
        """What is read: absorbed where that is less work, which is when few queries follow many."""
        t = q.shape[-2]
        if memory[0].shape[-2] > t and self.pays(t):
            return self.absorbed(q, memory)
        return self.expanded(q, memory)

    def pays(self, t: int) -> bool:
        """Whether t wider reads of each of S latents cost less than rebuilding all S of them."""
        r, rebuilt = self.rank, self.parts[0] + self.layout.value_dim
        return t * (2 * r - rebuilt) < r * rebuilt

    def expanded(self, q: Tensor, memory: tuple[Tensor, ...]) -> Heads:
        """Keys [B, G, K, S, D] and values [B, G, 1, S, E] rebuilt; q [B, H, M, T, D]."""
        both, *inverse = memory
        latent, turned = both.split((self.rank, self.parts[1]), dim=-1)
        gain, up = self.norm.key_gain(), (self.k, self.v)
        if gain is None and self.k.bias is None and by_hand(both, *(u.weight for u in up)):
            k, v = rebuilt(both, (self.k.weight, self.v.weight), self.layout)
        else:
            staying = times(self.staying_keys(latent), gain)
            k = torch.cat((staying, turned.expand(*staying.shape[:-1], -1)), dim=-1)
            v = split(self.v(latent.squeeze((1, 2))), self.layout.groups, 1)
        return Heads(q=q, k=times(k, *inverse), v=v, lift=nn.Identity())

    def absorbed(self, q: Tensor, memory: tuple[Tensor, ...]) -> Heads:
        """Latents as keys and values; q [B, H, M, T, D] goes to their space."""
        both, *inverse = memory
        groups, sets = self.layout.groups, self.layout.key_sets
        up = self.k.weight.unflatten(0, (groups, sets, -1))  # [G, K, N, r]
        gain = self.norm.key_gain()
        up = up if gain is None else up * gain.mT  # [G, K, N, 1], or fewer
        staying, turning = q.split(self.parts, dim=-1)
        asking = by_key_set(staying, groups, sets)  # [B, G, K, P, T, N]
        found = (asking.flatten(3, 4) @ up).unflatten(3, asking.shape[3:5])
        q = torch.cat((by_head(found, self.layout.maps), turning), dim=-1)
        k = times(both, *inverse)
        return Heads(q=q, k=k, v=both[..., : self.rank], lift=self.values)

    def inverse_length(self, latent: Tensor, turning: Tensor) -> Tensor | None:
        """Of keys [B, G, K, T, 1], from latents and turning parts; None without a QK norm."""
        if self.norm.kind == "none":
            return None
        return self.norm.inverse_length(self.staying_keys(latent), turning)

    def staying_keys(self, latent: Tensor) -> Tensor:
        """Latents [B, 1, 1, T, r] -> [B, G, K, T, N]."""
        up = self.k(latent.squeeze((1, 2)))
        return split(up, self.layout.groups, self.layout.key_sets)

    def values(self, reads: Tensor) -> Tensor:
        """What each head read of the latents [B, H, ..., r] -> of its values [B, H, ..., E]."""
        up = self.v.weight.unflatten(0, (self.layout.groups, -1))  # [G, E, r]
        own = reads.reshape(len(reads), len(up), -1, self.rank)  # of the heads of a group
        return (own @ up.mT).view(*reads.shape[:-1], -1)
