/* Values: built in C, read in C, what Lua programs send each other. */
#include <luactor.h>
#include <stdio.h>

static void show(luactor_view view) {
  char text[200];
  luactor_print(view, text, sizeof text);
  puts(text);
}

int main(void) {
  luactor_value *order, *copy;
  luactor_view items, item, price;
  luactor_iter walk;
  double sum = 0, each;

  /* In one call ... */
  if (luactor_make(&order, "{s id=i items={{name=s price=d} {name=s price=d}}}",
                   "order", 7, "tea", 2.5, "cake", 3.25) != 0) {
    return 1;
  }
  show(luactor_view_of(order));

  /* ... or piece by piece: the first error stays, and finish tells it. */
  luactor_builder *b = luactor_builder_new();
  luactor_build_table(b);
  luactor_build_text(b, "squares");
  for (int i = 1; i <= 3; i++) {
    luactor_build_integer(b, i * i);
  }
  luactor_build_end(b);
  if (luactor_build_finish(b, &copy) == 0) {
    show(luactor_view_of(copy));
    luactor_value_free(copy);
  }
  luactor_builder_free(b);

  /* Views walk over a value in place; nothing is copied. */
  if (luactor_get_field(luactor_view_of(order), "items", &items) == 0 &&
      luactor_iterate(items, &walk) == 0) {
    while (luactor_next(&walk, NULL, &item) == 1) {
      if (luactor_get_field(item, "price", &price) == 0 &&
          luactor_get_number(price, &each) == 0) {
        sum += each;
      }
    }
  }
  printf("sum %.2f\n", sum);

  /* A part becomes a value of its own. */
  if (luactor_value_copy(items, &copy) == 0) {
    luactor_value_free(order);
    show(luactor_view_of(copy));
    luactor_value_free(copy);
  }

  /* What is wrong is an error, never a crash. */
  printf("%s\n", luactor_strerror(luactor_make(&copy, "{s", "open")));
  return 0;
}
