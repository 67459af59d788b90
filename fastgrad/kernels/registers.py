"""What kernels written in LLVM's own language share: loops whose sums stay in registers."""

from __future__ import annotations

from llvmlite import ir

BYTE, INT32, INT64, DOUBLE = ir.IntType(8), ir.IntType(32), ir.IntType(64), ir.DoubleType()


def arrays(context, builder, signature, arguments, *which):
    """Return those of an intrinsic's arguments that are arrays, as numba sees them."""
    return [context.make_array(signature.args[k])(context, builder, arguments[k]) for k in which]


def loop(builder, first, last, sums, body):
    """Emit ``for k in range(first, last): sums = body(k, sums)``; return what the sums end as."""
    before = builder.basic_block
    turn, after = (builder.append_basic_block(name) for name in ("turn", "after"))
    builder.cbranch(builder.icmp_signed(">", last, first), turn, after)

    builder.position_at_end(turn)
    k, *running = (builder.phi(value.type) for value in (first, *sums))
    following = builder.add(k, INT64(1))
    added = body(k, running)
    for phi, start, next_ in zip((k, *running), (first, *sums), (following, *added), strict=True):
        phi.add_incoming(start, before)
        phi.add_incoming(next_, turn)
    builder.cbranch(builder.icmp_signed("<", following, last), turn, after)

    builder.position_at_end(after)
    results = [builder.phi(value.type) for value in sums]
    for phi, start, end in zip(results, sums, added, strict=True):
        phi.add_incoming(start, before)
        phi.add_incoming(end, turn)
    return results


def everywhere(builder, value, lanes):
    """Return a register that holds `value` in each of its lanes."""
    nothing = ir.Constant(ir.VectorType(value.type, lanes), ir.Undefined)
    one = builder.insert_element(nothing, value, INT32(0))
    zeros = ir.Constant(ir.VectorType(INT32, lanes), [INT32(0)] * lanes)
    return builder.shuffle_vector(one, nothing, zeros)


def registers(builder, data, offset, kind):
    """Return a pointer to registers of that kind, `offset` bytes behind `data`."""
    place = builder.gep(builder.bitcast(data, BYTE.as_pointer()), [offset])
    return builder.bitcast(place, kind.as_pointer())


def load(builder, place, number, align):
    """Return a register's worth of numbers, of which each is aligned."""
    return builder.load(builder.gep(place, [INT64(number)]), align=align)


def store(builder, values, place, align):
    """Write registers one after the other."""
    for number, value in enumerate(values):
        builder.store(value, builder.gep(place, [INT64(number)]), align=align)
