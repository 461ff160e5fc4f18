"""Words that several modules of this folder use."""


def count_of_items(count: int) -> str:
    return f"{count:,} item{'' if count == 1 else 's'}"
